// First-order training of chains of layers: many steps of many networks in one call.
#pragma once
#include <functional>
#include <vector>

#include "cpu/chain_kernels.h"
#include "layout/training.h"

namespace edt {

// A network of the call: its number (of st.lr and the like), where its parameters start, what its
// mask leaves and what it learns.
template <class T>
struct ChainLearner {
  int64_t number, offset;
  const ChainMask* mask;
  const ChainSamples<T>* data;
};

template <class T>
struct ChainTraining {
  const Chain& chain;
  std::vector<ChainLearner<T>> networks;
  HyperParameters hyper;
  TrainState<T> state;
  std::function<bool()> poll;  // true: stop
};

// Takes the networks to step state.until, on minibatches or all samples; networks whose loss or
// gradient is not finite end as diverged, before the step. Nothing is recorded and nothing else
// stops a network: that is for evaluations of all samples, between calls. Returns false if it was
// stopped before the end: each network is then between two steps. A network's bits depend neither
// on threads, nor on the other networks, nor on where calls are cut.
template <class T>
bool chain_train(const ChainTraining<T>&);

}  // namespace edt
