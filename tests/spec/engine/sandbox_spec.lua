-- SPDX-License-Identifier: MIT
-- The sandbox: what scripts have, what they have not and what to write instead, and that nobody changes it for others.
local function tree(list)
  local made = {
    ["systems/t.lua"] = "return { services = { a = {} }, config = { colour = 'red' } }",
    ["lib/shared.lua"] = "return { n = 1, twice = function(x) return 2 * x end }",
  }
  for name, body in pairs(list) do
    made["routes/t/" .. name .. ".lua"] = ('return route "%s" { service = "a", method = "GET", path = "/%s", ' ..
      "handle = function(request)\n%s\nend }"):format(name, name, body)
  end
  return made
end

local function go(body)
  scripts(tree { go = body })
  return request { path = "/go" }
end

-- { snippet, what its error says }
local refused = {
  { "os.execute('ls')", "`os.execute` is not available to scripts: scripts reach nothing outside of Moontide" },
  { "os.time()", "`os.time` is not available to scripts: write clock.now()" },
  { "os.getenv('HOME')", "`os.getenv` is not available to scripts: write config.NAME" },
  { "io.open('/etc/passwd')", "`io.open` is not available to scripts: keep data with store" },
  { "debug.sethook()", "`debug.sethook` is not available to scripts" },
  { "package.loadlib('x', 'y')", "`package.loadlib` is not available to scripts" },
  { "print('x')", "`print` is not available to scripts: write log.info(...)" },
  { "require('x')", "`require` is not available to scripts: write use" },
  { "load('return 1')", "`load` is not available to scripts: code comes from files only" },
  { "loadstring('return 1')", "`loadstring` is not available to scripts" },
  { "dofile('x.lua')", "`dofile` is not available to scripts" },
  { "loadfile('x.lua')", "`loadfile` is not available to scripts" },
  { "collectgarbage()", "`collectgarbage` is not available to scripts" },
  { "rawset({}, 1, 2)", "`rawset` is not available to scripts: assign the field" },
  { "getmetatable('')", "`getmetatable` is not available to scripts" },
  { "local x = _G.string", "`_G` is not available to scripts" },
  { "string.dump(function() end)", "`string.dump` is not available to scripts" },
  { "local x = ('').dump", "`string.dump` is not available to scripts" },
  { "string.repp('x', 2)", '`string.repp` is not available to scripts; did you mean "string.rep"?' },
  { "local x = ('').tool", "`string.tool` is not available to scripts; a text has no fields (a request's body is" },
  { "bus.send('X')", "`bus.send` is not available to scripts; there are bus.cancel, bus.emit, bus.emit_at" },
  { "log('x')", "`log` is no function; there are log.debug, log.error, log.info, log.warn" },
  { "string 'x'", '`string` is no type of field; write text "name"' },
  { "local x = null", "`null` is not available to scripts: write nil; json.null in a list" },
  { "local b = breaker 'none'", 'breaker "none" has no settings' },
  { "for _, v in json.decode('[1]') do end", "a list cannot be called: write for i, value in ipairs(list) do" },
  { "task.sleep('5 sec')", 'or milliseconds, got "5 sec"' },
  { "task.sleep({})", "or milliseconds, got a table" },
  { "response(200, 'x', 'text/html')", "headers must be a table { name = value }, got a string" },
  { "tostrin(1)", '`tostrin` is not available to scripts; did you mean "tostring"?' },
  { "string.rep = nil", "string.rep cannot be assigned: libraries are the same for every script" },
  { "table.insert(string, 1, 'x')", "cannot be assigned" },
  { "shared = 1", "shared would be a global; write `local shared`" },
  { "config.colour = 'blue'", "config.colour cannot be assigned" },
  { "use('lib.shared').n = 2", "cannot be assigned" },
  { "json.encode = nil", "json.encode cannot be assigned: libraries are the same for every script" },
  { "setmetatable(string, {})", "cannot change a protected metatable" },
  { "setmetatable(_ENV, {})", "cannot change a protected metatable" },
  { "setmetatable({}, { __gc = function() end })", "setmetatable: __gc is not available to scripts" },
  { "setmetatable({}, { __gc = true })", "setmetatable: __gc is not available to scripts" },
  { "coroutine.close(coroutine.running())", "this coroutine runs a handler" },
  { "coroutine.resume((coroutine.running()))", "this coroutine runs a handler" },
}

describe("RULES-4a the sandbox", function()
  for _, case in ipairs(refused) do
    it("refuses " .. case[1] .. " by name", function()
      local answer = go(("local ok, err = pcall(function()\n%s\nend)\nreturn { ok = ok, text = tostring(err), " ..
        "origin = not ok and err.origin }"):format(case[1]))
      assert.equal(200, answer.status)
      assert.falsy(answer.body.ok)
      assert.truthy(answer.body.text:find(case[2], 1, true), answer.body.text)
      assert.equal("scripts/routes/t/go.lua:3", answer.body.origin)
    end)
  end

  it("raises uncaught with script and line", function()
    local answer = go "\nos.execute('ls')"
    assert.equal(500, answer.status)
    assert.equal("script", answer.body.code)
  end)

  it("hands out no table of a library: pairs walks it, and what it gives cannot change it", function()
    local answer = go [[
      local names, _, held = 0, pairs(string)
      for name, fn in pairs(string) do
        assert(string[name] == fn)
        names = names + 1
      end
      pcall(function() held.rep = nil end)
      return { names = names, next = next(string) ~= nil, rep = ("x"):rep(3) }]]
    assert.same({ names = 16, next = true, rep = "xxx" }, answer.body)
  end)

  it("keeps Lua's own libraries as they are otherwise", function()
    local answer = go [[
      local t = { 3, 1, 2 }
      table.sort(t)
      local ok, err, more = xpcall(function(a) error(a, 0) end, function(e) return "handled " .. e, 2 end, "x")
      local fine = table.pack(xpcall(function(...) return ... end, tostring, 1, nil, 3))
      return { table.concat(t), ok, err, more, fine.n, fine[4], ("a,b"):match("(.),(.)"), #("x"):rep(3, "--"),
               utf8.len("äö"), math.type(1), select("#", table.unpack({ 1, nil, 3 }, 1, 3)) }]]
    assert.same({ "123", false, "handled x", 2, 4, 3, "a", 7, 2, "integer", 3 }, answer.body)
  end)

  it("an error handler of xpcall that fails is that error", function()
    local answer = go [[
      local ok, err = xpcall(error, function() error("again", 0) end, "x")
      return { ok, err }]]
    assert.same({ false, "again" }, answer.body)
  end)
end)
