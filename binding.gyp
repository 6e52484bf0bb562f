{
  "targets": [
    {
      "target_name": "varve",
      "sources": ["<!@(node -p \"require('fs').readdirSync('native',{recursive:true}).filter(f=>f.endsWith('.cc')&&!f.startsWith('test/')).map(f=>'native/'+f).join(' ')\")"],
      "include_dirs": ["native", "<!@(node -p \"require('node-addon-api').include_dir\")"],
      "defines": ["NAPI_DISABLE_CPP_EXCEPTIONS", "NAPI_VERSION=9", "XXH_INLINE_ALL"],
      "cflags_cc!": ["-std=gnu++17", "-fno-rtti"],
      "cflags_cc": ["-std=c++20", "-O2", "-g", "-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", "-fno-exceptions", "-fvisibility=hidden"],
      "libraries": ["-l:liburing.a"]
    }
  ]
}
