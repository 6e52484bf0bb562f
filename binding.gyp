{
  "target_defaults": {
    "include_dirs": ["native"],
    "defines": ["XXH_INLINE_ALL"],
    "cflags_cc!": ["-std=gnu++17", "-fno-rtti", "-fno-exceptions"],
    "cflags_cc": ["-std=c++20", "-O2", "-g", "-fPIC", "-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", "-fvisibility=hidden"]
  },
  "targets": [
    {
      "target_name": "dataplane",
      "type": "static_library",
      "sources": ["<!@(node -p \"require('fs').readdirSync('native',{recursive:true}).filter(f=>f.endsWith('.cc')&&!/^(test|addon)\\//.test(f)).map(f=>'native/'+f).join(' ')\")"],
      "cflags_cc": ["-fno-exceptions"]
    },
    {
      "target_name": "varve",
      "dependencies": ["dataplane"],
      "sources": ["<!@(node -p \"require('fs').readdirSync('native/addon').filter(f=>f.endsWith('.cc')).map(f=>'native/addon/'+f).join(' ')\")"],
      "include_dirs": ["<!@(node -p \"require('node-addon-api').include_dir\")"],
      # A verb that names what is closed throws, see HandleTable.
      "defines": ["NODE_ADDON_API_CPP_EXCEPTIONS_ALL", "NAPI_VERSION=9"],
      "libraries": ["-l:liburing.a"]
    }
  ]
}
