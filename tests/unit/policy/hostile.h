/* Bodies of admit and advance that must cost nothing but their own call. Those marked `in_c` compute without
 * end where Lua's own limits do not reach: only ending the process helps. */
#pragma once
#include <stdbool.h>

struct hostile {
    const char *body;
    bool in_c;
};

static const struct hostile hostile[] = {
    {"while true do end", false},
    {"while true do pcall(function() while true do end end) end", false},
    {"local function f() return pcall(f) end while true do f() end", false},
    {"xpcall(function() error('x') end, function() while true do end end)", false},
    {"setmetatable({}, { __gc = function() while true do end end })", false},
    {"local x <close> = setmetatable({}, { __close = function() while true do end end })", false},
    {"while true do coroutine.wrap(function() while true do end end)() end", false},
    {"string.rep('', 1e12 // 1 | 0)", false},
    {"return 'offer', ('x'):rep(1 << 40)", false},
    {"local s = 'x' while true do s = s .. s end", false},
    {"local s = '' while true do s = s .. 'x' end", false},
    {"local t = {} while true do t[#t + 1] = {} end", false},
    {"local t = {} while true do pcall(function() t[#t + 1] = ('x'):rep(100000) .. #t end) end", false},
    {"local t = {} for i = 1, 1e9 do t[i] = i end", false},
    {"local function f() return 1 + f() end return f()", false},
    {"local function f(...) return f(1, ...) end f()", false},
    {"table.move({}, 1, 1e15 // 1 | 0, 2)", false},
    {"table.insert(setmetatable({}, { __len = function() return 1 << 60 end }), 1, 1)", false},
    {"return table.unpack({}, 1, 1e8 // 1 | 0)", false},
    {"return table.concat({}, 'x', 1, 1e12 // 1 | 0)", false},
    {"local t = {} for i = 1, 400000 do t[i] = -i end table.sort(t, function(a, b) return a < b end) return "
     "'offer'",
     false},
    {"load('while true do end')()", false},
    {"debug.sethook()", false},
    {"os.execute('true')", false},
    {"io.open('/etc/passwd')", false},
    {"require 'os'", false},
    {"require 'lib.policy.self'", false},
    {"collectgarbage('stop')", false},
    {"return string.dump(function() end)", false},
    {"return string.pack('i', 1)", false},
    {"math.randomseed(1)", false},
    {"error({})", false},
    {"error()", false},
    {"error('\\0\\255\\n' .. ('x'):rep(100000))", false},
    {"return ('a'):rep(30000):find(('.-'):rep(30) .. 'b')", true},
    {"return ('a'):rep(30000):match(('a*'):rep(30) .. 'b')", true},
    {"for _ in ('a'):rep(30000):gmatch(('a-'):rep(30) .. 'b') do end", true},
    {"return (('a'):rep(30000):gsub(('a-'):rep(30) .. 'b', ''))", true},
};
enum { HOSTILE = sizeof(hostile) / sizeof(hostile[0]) };
