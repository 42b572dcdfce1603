# LibTorch without its own CMake package (which insists on a CUDA toolkit when the wheel was built for CUDA).
#
# Looks in LIBTORCH_ROOT, the project's .venv, the environment's python and CMAKE_PREFIX_PATH for a folder that holds
# lib/libtorch_cpu.so and include/ATen. Defines the target LibTorch::cpu (libtorch_cpu + libc10) and, with PEFT_CUDA, LibTorch::cuda.

set(_hints ${LIBTORCH_ROOT} $ENV{LIBTORCH_ROOT})
file(GLOB _wheels "${CMAKE_SOURCE_DIR}/.venv/lib/python3*/site-packages/torch")
list(APPEND _hints ${_wheels} ${CMAKE_PREFIX_PATH})
if(NOT _hints)
  execute_process(COMMAND python3 -c "import importlib.util as u; print(u.find_spec('torch').submodule_search_locations[0])"
                  OUTPUT_VARIABLE _installed OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  list(APPEND _hints ${_installed})
endif()

find_library(LIBTORCH_CPU_LIBRARY torch_cpu HINTS ${_hints} PATH_SUFFIXES lib)
find_library(LIBTORCH_C10_LIBRARY c10 HINTS ${_hints} PATH_SUFFIXES lib)
find_path(LIBTORCH_INCLUDE_DIR ATen/ATen.h HINTS ${_hints} PATH_SUFFIXES include)

if(LIBTORCH_INCLUDE_DIR)
  file(STRINGS "${LIBTORCH_INCLUDE_DIR}/torch/headeronly/version.h" _lines REGEX "define TORCH_VERSION_(MAJOR|MINOR|PATCH) ")
  string(REGEX REPLACE "[^0-9;]" "" _numbers "${_lines}")
  string(REPLACE ";" "." LibTorch_VERSION "${_numbers}")
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(LibTorch
  REQUIRED_VARS LIBTORCH_CPU_LIBRARY LIBTORCH_C10_LIBRARY LIBTORCH_INCLUDE_DIR
  VERSION_VAR LibTorch_VERSION
  REASON_FAILURE_MESSAGE "run scripts/setup, or pass -DLIBTORCH_ROOT=<folder with lib/libtorch_cpu.so>")

if(LibTorch_FOUND AND NOT TARGET LibTorch::cpu)
  add_library(LibTorch::cpu INTERFACE IMPORTED)
  # The wheel's include folder also holds a newer fmt than the distribution's library: searched last, it is not picked up.
  target_compile_options(LibTorch::cpu INTERFACE
    "SHELL:-idirafter ${LIBTORCH_INCLUDE_DIR}" "SHELL:-idirafter ${LIBTORCH_INCLUDE_DIR}/torch/csrc/api/include")
  target_link_libraries(LibTorch::cpu INTERFACE ${LIBTORCH_CPU_LIBRARY} ${LIBTORCH_C10_LIBRARY})
  # The wheel's libtorch_cpu finds libcudart and libcupti by its own run path; the linker need not resolve them.
  target_link_options(LibTorch::cpu INTERFACE LINKER:--allow-shlib-undefined)
  get_filename_component(LIBTORCH_LIBRARY_DIR ${LIBTORCH_CPU_LIBRARY} DIRECTORY)
endif()
if(LibTorch_FOUND AND PEFT_CUDA AND NOT TARGET LibTorch::cuda)
  add_library(LibTorch::cuda INTERFACE IMPORTED)
  # Nothing names a symbol of these two; their static registration makes at::Device("cuda") work.
  target_link_options(LibTorch::cuda INTERFACE
    "LINKER:--no-as-needed,${LIBTORCH_LIBRARY_DIR}/libtorch_cuda.so,${LIBTORCH_LIBRARY_DIR}/libc10_cuda.so,--as-needed")
endif()
