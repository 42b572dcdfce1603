# peft_layer(NAME DEPENDS lower... SOURCES a.cpp ... [TORCH] [NO_UNITY]): one layer of docs/DESIGN.md as an OBJECT library (a static
# library would drop self-registering objects). NO_UNITY: a layer whose files name their private parts alike, as registered ones do.
# peft_test(NAME LAYERS ... SOURCES ...): one GoogleTest program, one ctest entry.

function(_peft_options target)
  target_include_directories(${target} PUBLIC ${PROJECT_SOURCE_DIR}/include PRIVATE ${PROJECT_SOURCE_DIR})
  target_compile_features(${target} PUBLIC cxx_std_20)
  # g++ 12 sees overlapping copies in std::string that are none (its bug 105651).
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wshadow -Wnon-virtual-dtor $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict> $<$<BOOL:${PEFT_WERROR}>:-Werror>)
  target_compile_definitions(${target} PUBLIC SPDLOG_COMPILED_LIB SPDLOG_FMT_EXTERNAL)
endfunction()

function(peft_layer name)
  cmake_parse_arguments(arg "TORCH;NO_UNITY" "" "DEPENDS;SOURCES;LIBRARIES" ${ARGN})
  if(arg_TORCH AND NOT PEFT_TORCH)
    return()
  endif()
  add_library(peft_${name} OBJECT ${arg_SOURCES})
  if(arg_NO_UNITY)
    set_target_properties(peft_${name} PROPERTIES UNITY_BUILD OFF)
  endif()
  _peft_options(peft_${name})
  foreach(lower ${arg_DEPENDS})
    target_link_libraries(peft_${name} PUBLIC peft_${lower})  # headers and usage requirements; objects are listed at the program
  endforeach()
  target_link_libraries(peft_${name} PUBLIC ${arg_LIBRARIES})
  if(arg_TORCH)
    target_link_libraries(peft_${name} PUBLIC LibTorch::cpu)
  endif()
  set_property(GLOBAL APPEND PROPERTY PEFT_LAYERS ${name})
endfunction()

# Every layer built so far goes into every program: objects register themselves and the linker drops nothing.
function(_peft_link target)
  get_property(layers GLOBAL PROPERTY PEFT_LAYERS)
  foreach(layer ${layers})
    target_link_libraries(${target} PRIVATE peft_${layer})
  endforeach()
  if(PEFT_CUDA)
    target_link_libraries(${target} PRIVATE LibTorch::cuda)
  endif()
endfunction()

function(peft_program name)
  add_executable(${name} ${ARGN})
  _peft_options(${name})
  # Batches of ever other sizes fragment glibc's heap; tcmalloc stays at two thirds of its memory and is faster (docs/performance.md).
  target_link_libraries(${name} PRIVATE PkgConfig::TCMALLOC)
  _peft_link(${name})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
endfunction()

function(peft_test name)
  cmake_parse_arguments(arg "TORCH" "" "SOURCES" ${ARGN})
  if(NOT PEFT_TESTS OR (arg_TORCH AND NOT PEFT_TORCH))
    return()
  endif()
  add_executable(${name}_test ${arg_SOURCES})
  _peft_options(${name}_test)
  target_include_directories(${name}_test PRIVATE ${PROJECT_SOURCE_DIR})
  target_compile_definitions(${name}_test PRIVATE PEFT_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  _peft_link(${name}_test)
  set_target_properties(${name}_test PROPERTIES UNITY_BUILD OFF)
  target_compile_options(${name}_test PRIVATE -O1)  # compiled often, run once
  target_link_libraries(${name}_test PRIVATE GTest::gtest_main GTest::gmock)
  add_test(NAME ${name} COMMAND ${name}_test)
  set_tests_properties(${name} PROPERTIES TIMEOUT 600)
endfunction()
