# Compiler settings shared by every target. Nothing here names a library.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Debug, Release or RelWithDebInfo" FORCE)
endif()

if(NOT DEFINED CMAKE_CXX_COMPILER_LAUNCHER)
  find_program(TENANCY_CCACHE ccache)
  mark_as_advanced(TENANCY_CCACHE)
  if(TENANCY_CCACHE)
    # Precompiled headers are told apart by their content; no file of ours reads the macros of time.
    set(CMAKE_CXX_COMPILER_LAUNCHER
      "${CMAKE_COMMAND}" -E env CCACHE_SLOPPINESS=pch_defines,time_macros "${TENANCY_CCACHE}")
  endif()
endif()

add_library(tenancy_settings INTERFACE)
target_include_directories(tenancy_settings INTERFACE "${PROJECT_SOURCE_DIR}/cpp")
target_compile_options(tenancy_settings INTERFACE -Wall -Wextra -Wpedantic -Wconversion -Wshadow)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # GCC 12 imagines uninitialised members in copies of std::variant and std::optional.
  target_compile_options(tenancy_settings INTERFACE -Wno-maybe-uninitialized)
endif()
if(TENANCY_WERROR)
  target_compile_options(tenancy_settings INTERFACE -Werror)
endif()

if(TENANCY_SANITIZE)
  # Applied to everything, third-party sources built here included: half-instrumented programs
  # report races and overflows that are not there.
  add_compile_options(-fsanitize=${TENANCY_SANITIZE} -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${TENANCY_SANITIZE})
  if(TENANCY_SANITIZE MATCHES "undefined")
    add_compile_options(-fno-sanitize-recover=undefined)
  endif()
endif()
