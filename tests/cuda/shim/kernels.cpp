// The kernels and the host code of csrc/cuda, compiled by the host compiler over the shim.
#include "cuda/device.cu"
#include "cuda/evaluate.cu"
#include "cuda/hessian.cu"
#include "cuda/hvp.cu"
#include "cuda/train.cu"
#include "cuda/train_pairs.cu"
