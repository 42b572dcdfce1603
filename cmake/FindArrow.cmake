# The Arrow and Parquet libraries of the pyarrow wheel, which has no CMake package and no libarrow.so without a version.
#
# Looks in ARROW_ROOT, the project's .venv and the environment's python for a folder that holds libarrow.so.*, libparquet.so.* and
# include/arrow. Nothing is cached: after an update of the wheel the next configuration finds the new files. Defines the target
# Arrow::parquet (libparquet + libarrow).

set(_folders ${ARROW_ROOT} $ENV{ARROW_ROOT})
file(GLOB _wheels "${CMAKE_SOURCE_DIR}/.venv/lib/python3*/site-packages/pyarrow")
list(APPEND _folders ${_wheels})
if(NOT _folders)
  execute_process(COMMAND python3 -c "import importlib.util as u; print(u.find_spec('pyarrow').submodule_search_locations[0])"
                  OUTPUT_VARIABLE _folders OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()

unset(ARROW_LIBRARY_DIR)
foreach(_folder ${_folders})
  file(GLOB _arrow "${_folder}/libarrow.so.*")
  file(GLOB _parquet "${_folder}/libparquet.so.*")
  if(_arrow AND _parquet AND EXISTS "${_folder}/include/arrow/util/config.h")
    list(GET _arrow 0 ARROW_LIBRARY)
    list(GET _parquet 0 ARROW_PARQUET_LIBRARY)
    set(ARROW_LIBRARY_DIR "${_folder}")
    file(STRINGS "${_folder}/include/arrow/util/config.h" _line REGEX "define ARROW_VERSION_STRING ")
    string(REGEX REPLACE ".*\"(.*)\".*" "\\1" Arrow_VERSION "${_line}")
    break()
  endif()
endforeach()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Arrow
  REQUIRED_VARS ARROW_LIBRARY_DIR
  VERSION_VAR Arrow_VERSION
  REASON_FAILURE_MESSAGE "run scripts/setup, or pass -DARROW_ROOT=<folder of pyarrow, with libarrow.so.* in it>")

if(Arrow_FOUND AND NOT TARGET Arrow::parquet)
  add_library(Arrow::parquet INTERFACE IMPORTED)
  target_include_directories(Arrow::parquet INTERFACE "${ARROW_LIBRARY_DIR}/include")
  target_link_libraries(Arrow::parquet INTERFACE "${ARROW_PARQUET_LIBRARY}" "${ARROW_LIBRARY}")
endif()
