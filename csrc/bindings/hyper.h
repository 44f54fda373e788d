// Hyper-parameters of training as Python gives them.
#pragma once
#include <pybind11/pybind11.h>

#include <string>

#include "layout/training.h"

namespace edt {

inline HyperParameters read_hyper(const pybind11::dict& d) {
  HyperParameters hp;
  const auto name = d["optimizer"].cast<std::string>();
  if (name == "sgd") hp.optimizer = Optimizer::sgd;
  else if (name == "adam") hp.optimizer = Optimizer::adam;
  else if (name == "adamw") hp.optimizer = Optimizer::adamw;
  else
    throw pybind11::value_error("optimizer must be 'sgd', 'adam' or 'adamw', got '" + name + "'");
  hp.momentum = d["momentum"].cast<double>();
  hp.dampening = d["dampening"].cast<double>();
  hp.nesterov = d["nesterov"].cast<bool>();
  hp.beta1 = d["beta1"].cast<double>();
  hp.beta2 = d["beta2"].cast<double>();
  hp.eps = d["eps"].cast<double>();
  hp.batch_size = d["batch_size"].cast<int64_t>();
  hp.tol = d["tol"].cast<double>();
  hp.loss_target = d["loss_target"].cast<double>();
  hp.last_step = d["last_step"].cast<int64_t>();
  return hp;
}

}  // namespace edt
