// Those of wide networks, apart so that both files compile at once.
#include "cuda/wide.cu"
#include "cuda/wide_curvature.cu"
