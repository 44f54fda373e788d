// Those of chains of convolutions.
#include "cuda/chain_calls.cu"
