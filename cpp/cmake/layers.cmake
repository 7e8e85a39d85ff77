# tenancy_layer(<name> DEPS <lower layers>... LIBS <libraries>...)
#
# One static library tenancy_<name> from cpp/tenancy/<name>/*.cc; a layer of headers alone becomes an
# interface library. DEPS are the layers whose headers it may include: strictly lower ranks.
function(tenancy_layer NAME)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "DEPS;LIBS")
  set(dir "${PROJECT_SOURCE_DIR}/cpp/tenancy/${NAME}")
  file(GLOB sources CONFIGURE_DEPENDS "${dir}/*.cc")
  file(GLOB headers CONFIGURE_DEPENDS "${dir}/*.h")
  list(TRANSFORM arg_DEPS PREPEND tenancy_)
  set(deps "")
  foreach(dep IN LISTS arg_DEPS)
    if(TARGET ${dep})
      list(APPEND deps ${dep})
    endif()
  endforeach()
  if(sources)
    add_library(tenancy_${NAME} STATIC ${sources})
    target_link_libraries(tenancy_${NAME}
      PUBLIC ${deps} Threads::Threads
      PRIVATE tenancy_settings tenancy_absl ${arg_LIBS})
  elseif(headers)
    add_library(tenancy_${NAME} INTERFACE)
    target_link_libraries(tenancy_${NAME} INTERFACE ${deps})
  else()
    return()
  endif()
  set_property(GLOBAL APPEND PROPERTY TENANCY_LAYERS ${NAME})
endfunction()

# tenancy_programs(<glob> [OPTIONS <compile and link options>...]): one executable per file x.cc, named
# after the file, linked with every layer.
function(tenancy_programs PATTERN)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "OPTIONS")
  get_property(layers GLOBAL PROPERTY TENANCY_LAYERS)
  list(TRANSFORM layers PREPEND tenancy_)
  file(GLOB sources CONFIGURE_DEPENDS "${PATTERN}")
  foreach(source IN LISTS sources)
    get_filename_component(name "${source}" NAME_WE)
    add_executable(${name} "${source}")
    target_link_libraries(${name} PRIVATE
      ${layers} tenancy_settings tenancy_absl nlohmann_json::nlohmann_json OpenSSL::Crypto
      Threads::Threads)
    target_compile_definitions(${name} PRIVATE TENANCY_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
    target_compile_options(${name} PRIVATE ${arg_OPTIONS})
    target_link_options(${name} PRIVATE ${arg_OPTIONS})
  endforeach()
endfunction()
