"""What compilers are started through, as CMake has it: ccache, where `.ci/steps.py` found it."""

import os

#: Words before a compiler's own.
LAUNCHER = os.environ.get("CMAKE_CXX_COMPILER_LAUNCHER", "").split()
