# cmake -DSOURCE=FOLDER -DOUTPUT=FILE -P write_revision.cmake: the header with PEFT_REVISION, rewritten only where the revision has changed.
# It is the commit of the checkout ("-dirty": with changes), or "" outside of one.

set(revision "")
if(EXISTS "${SOURCE}/.git")
  execute_process(COMMAND git --no-optional-locks -C "${SOURCE}" describe --always --dirty --abbrev=12 --exclude=*
                  OUTPUT_VARIABLE revision OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()
set(text "#pragma once\n#define PEFT_REVISION \"${revision}\"\n")
set(before "")
if(EXISTS "${OUTPUT}")
  file(READ "${OUTPUT}" before)
endif()
if(NOT text STREQUAL before)
  file(WRITE "${OUTPUT}" "${text}")
endif()
