# The only file that names third-party libraries and their versions.
#
# Each library is looked for in three places, in this order:
#   1. the system, through find_package;
#   2. a source directory given as -DTENANCY_<DEP>_DIR=… (or FETCHCONTENT_SOURCE_DIR_<DEP>);
#   3. a pinned source that is downloaded, only with -DTENANCY_FETCH_DEPS=ON.
# What is found nowhere is collected, so that one message names one command that mends everything.

include(FetchContent)
set(FETCHCONTENT_QUIET ON)

set(_tenancy_missing_packages "")
set(_tenancy_missing_names "")

# tenancy_dependency(<NAME> <content name> APT <package> TARGET <target> URL <url> SHA256 <hash>
#                    FIND <find_package arguments>...)
macro(tenancy_dependency NAME CONTENT)
  cmake_parse_arguments(_dep "" "APT;TARGET;URL;SHA256" "FIND" ${ARGN})
  string(TOUPPER ${CONTENT} _dep_upper)
  if(NOT TENANCY_${NAME}_DIR AND NOT FETCHCONTENT_SOURCE_DIR_${_dep_upper})
    find_package(${_dep_FIND})
  endif()
  if(NOT TARGET ${_dep_TARGET})
    if(TENANCY_${NAME}_DIR)
      set(FETCHCONTENT_SOURCE_DIR_${_dep_upper} "${TENANCY_${NAME}_DIR}")
    endif()
    if(FETCHCONTENT_SOURCE_DIR_${_dep_upper} OR (TENANCY_FETCH_DEPS AND _dep_URL))
      FetchContent_Declare(${CONTENT} URL "${_dep_URL}" URL_HASH SHA256=${_dep_SHA256})
      FetchContent_MakeAvailable(${CONTENT})
    else()
      list(APPEND _tenancy_missing_packages ${_dep_APT})
      list(APPEND _tenancy_missing_names ${NAME})
    endif()
  endif()
endmacro()

set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)

tenancy_dependency(OPENSSL openssl APT libssl-dev TARGET OpenSSL::Crypto FIND OpenSSL 3.0)
tenancy_dependency(ABSL abseil APT libabsl-dev TARGET absl::flat_hash_map FIND absl CONFIG)
tenancy_dependency(JSON json APT nlohmann-json3-dev TARGET nlohmann_json::nlohmann_json
  FIND nlohmann_json 3.10 CONFIG)
if(TENANCY_BUILD_TESTS)
  tenancy_dependency(CATCH2 catch2 APT catch2 TARGET Catch2::Catch2 FIND Catch2 CONFIG)
endif()

if(_tenancy_missing_packages)
  string(JOIN ", " _names ${_tenancy_missing_names})
  string(JOIN " " _packages ${_tenancy_missing_packages})
  message(FATAL_ERROR
    "Not found on this system: ${_names}. On Debian or Ubuntu this mends it:\n"
    "  sudo apt-get install ${_packages}\n"
    "Elsewhere give source directories (-DTENANCY_<NAME>_DIR=…) or let pinned sources be "
    "downloaded (-DTENANCY_FETCH_DEPS=ON).")
endif()

# What layers may use beside the standard library.
add_library(tenancy_absl INTERFACE)
target_link_libraries(tenancy_absl INTERFACE
  absl::flat_hash_map absl::flat_hash_set absl::hash absl::inlined_vector absl::strings
  absl::str_format absl::time)

# pybind11 comes from the Python environment, not from the system: its version follows the package.
set(TENANCY_HAVE_PYBIND11 OFF)
if(TENANCY_BUILD_PYTHON)
  if(SKBUILD)
    find_package(Python 3.10 REQUIRED COMPONENTS Interpreter Development.Module)
    find_package(pybind11 3.0.2 CONFIG REQUIRED)
    set(TENANCY_HAVE_PYBIND11 ON)
  else()
    find_package(Python 3.10 QUIET COMPONENTS Interpreter Development.Module)
    if(Python_FOUND)
      execute_process(COMMAND "${Python_EXECUTABLE}" -m pybind11 --cmakedir
        OUTPUT_VARIABLE _pybind11_dir OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
      find_package(pybind11 3.0.2 CONFIG QUIET HINTS "${_pybind11_dir}")
      set(TENANCY_HAVE_PYBIND11 ${pybind11_FOUND})
    endif()
    if(NOT TENANCY_HAVE_PYBIND11)
      message(STATUS "tenancy._core is not built: no Python >= 3.10 with pybind11 >= 3.0.2 "
        "(choose one with -DPython_EXECUTABLE=…)")
    endif()
  endif()
endif()
