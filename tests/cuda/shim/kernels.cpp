// The kernels and the host code of csrc/cuda, compiled by the host compiler over the shim.
#include "cuda/curvature.cu"
#include "cuda/evaluate.cu"
#include "cuda/train.cu"
