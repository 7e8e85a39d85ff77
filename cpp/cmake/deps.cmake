# The only file that names third-party libraries and their versions.
#
# Each library is looked for in three places, in this order:
#   1. the system, through find_package;
#   2. a source directory given as -DTENANCY_<DEP>_DIR=… (or FETCHCONTENT_SOURCE_DIR_<DEP>);
#   3. a pinned source that is downloaded, only with -DTENANCY_FETCH_DEPS=ON: from its home, or from
#      -DTENANCY_DEPS_MIRROR=<address>, where archives lie under the names below. The hash decides.
# What is found nowhere is collected, so that one message names one command that mends everything.

include(FetchContent)
set(FETCHCONTENT_QUIET ON)
if(POLICY CMP0135)
  cmake_policy(SET CMP0135 NEW)  # time stamps of extracted files: now, not those in the archive
endif()

set(_tenancy_missing_packages "")
set(_tenancy_missing_names "")

# tenancy_dependency(<name> APT <package> TARGET <target> FIND <find_package arguments>...
#                    [ARCHIVE <name in a mirror> URL <its home> SHA256 <hash>])
#
# A macro, because find_package sets variables that later calls read.
macro(tenancy_dependency NAME)
  cmake_parse_arguments(_dep "" "APT;TARGET;ARCHIVE;URL;SHA256" "FIND" ${ARGN})
  string(TOLOWER ${NAME} _dep_content)
  if(TENANCY_${NAME}_DIR)
    set(FETCHCONTENT_SOURCE_DIR_${NAME} "${TENANCY_${NAME}_DIR}")
  endif()
  if(NOT FETCHCONTENT_SOURCE_DIR_${NAME})
    find_package(${_dep_FIND} QUIET)
  endif()
  if(NOT TARGET ${_dep_TARGET})
    if(_dep_URL AND (TENANCY_FETCH_DEPS OR FETCHCONTENT_SOURCE_DIR_${NAME}))
      if(TENANCY_DEPS_MIRROR)
        set(_dep_URL "${TENANCY_DEPS_MIRROR}/${_dep_ARCHIVE}")
      endif()
      FetchContent_Declare(${_dep_content} URL "${_dep_URL}" URL_HASH SHA256=${_dep_SHA256})
      FetchContent_MakeAvailable(${_dep_content})
    else()
      list(APPEND _tenancy_missing_packages ${_dep_APT})
      list(APPEND _tenancy_missing_names ${NAME})
    endif()
  endif()
endmacro()

# Settings of libraries built from source: no tests, nothing installed, headers as system headers so
# that our warnings stay ours.
set(CMAKE_POLICY_DEFAULT_CMP0077 NEW)  # their options obey the variables set here
set(ABSL_PROPAGATE_CXX_STD ON)
set(ABSL_USE_SYSTEM_INCLUDES ON)
set(JSON_BuildTests OFF)
set(JSON_Install OFF)
set(JSON_SystemInclude ON)
set(CATCH_INSTALL_DOCS OFF)
set(CATCH_INSTALL_EXTRAS OFF)

set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)

# A security library is never fetched: it comes from the system, which keeps it patched.
tenancy_dependency(OPENSSL APT libssl-dev TARGET OpenSSL::Crypto FIND OpenSSL 3.0)
tenancy_dependency(ABSL APT libabsl-dev TARGET absl::flat_hash_map FIND absl CONFIG
  ARCHIVE abseil-cpp-20240722.0.tar.gz
  URL https://github.com/abseil/abseil-cpp/archive/refs/tags/20240722.0.tar.gz
  SHA256 f50e5ac311a81382da7fa75b97310e4b9006474f9560ac46f54a9967f07d4ae3)
tenancy_dependency(JSON APT nlohmann-json3-dev TARGET nlohmann_json::nlohmann_json
  FIND nlohmann_json 3.10 CONFIG
  ARCHIVE json-3.11.3.tar.gz
  URL https://github.com/nlohmann/json/archive/refs/tags/v3.11.3.tar.gz
  SHA256 0d8ef5af7f9794e3263480193c491549b2ba6cc74bb018906202ada498a79406)
if(TENANCY_BUILD_TESTS)
  tenancy_dependency(CATCH2 APT catch2 TARGET Catch2::Catch2 FIND Catch2 CONFIG
    ARCHIVE Catch2-3.7.1.tar.gz
    URL https://github.com/catchorg/Catch2/archive/refs/tags/v3.7.1.tar.gz
    SHA256 c991b247a1a0d7bb9c39aa35faf0fe9e19764213f28ffba3109388e62ee0269c)
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
