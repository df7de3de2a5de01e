-- SPDX-License-Identifier: MIT
-- The words of scripts: what the sandbox offers is all there is.

local function veneer(name)
  return assert(loadfile("core/script/lua/" .. name .. ".lua"))(nil, veneer)
end

local sandbox = veneer("sandbox")

-- "a" as it is, { library = its members } with fields.
local function standard()
  local globals = {}
  for name in pairs(sandbox.functions) do globals[name] = { other_fields = true } end
  for name, members in pairs(sandbox.libraries) do
    globals[name] = { fields = members }
  end
  return globals
end

stds.moontide = { read_globals = standard() }

stds.spec = {
  read_globals = {
    "describe", "it", "before_each", "after_each", "expect", "request", "given", "app", "scripts", "start", "settle",
    "restart", "rows", "row", "events", "letters", "logs", "retry_letter", "discard_letter", "faults",
    assert = { other_fields = true }, clock = { other_fields = true }, breaker = { other_fields = true },
  },
}

std = "moontide"
max_line_length = 120
exclude_files = { "scripts/meta" } -- printed by `moontide stubs`
max_cyclomatic_complexity = 10
unused_args = true
self = false

files["tests/spec"] = { std = "+spec" }
-- The veneers run inside the host's own environment; what checks declarations is a list of questions.
files["core/script/lua"] = { std = "lua54", max_cyclomatic_complexity = 20 }
