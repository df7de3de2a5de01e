-- SPDX-License-Identifier: MIT
-- The breakers of a system file: names of settings, and what makes no sense with the line that says it.
local core, veneer = ...

local checks = veneer("checks")
local wrong, list_of = checks.wrong, checks.list_of

local breakers = {}

-- Every setting has a short name and, where Hystrix has it too, Hystrix' (core/breaker/conf.c). Scripts and settings
-- from outside may use either.
local options, short_names = {}, {}
for _, setting in ipairs(core.breaker_settings()) do
  for _, name in pairs(setting) do options[name] = "number|boolean|string" end
  if setting.hystrix then short_names[setting.hystrix] = setting.name or setting.hystrix end
end

breakers.options = options -- name = types

-- The settings of one breaker with a place for every name, so that settings from outside find it: json.null is none.
function breakers.with_all_names(settings)
  local made = {}
  for name in pairs(options) do made[name] = core.json.null end
  for name, value in pairs(settings) do made[short_names[name] or name] = value end
  return made
end

-- After settings from outside were laid over: short names only. What has Hystrix' name by now came from outside.
local function with_short_names(settings)
  local made = {}
  for name, value in pairs(settings) do
    if value ~= core.json.null and not short_names[name] then made[name] = value end
  end
  for name, value in pairs(settings) do
    if value ~= core.json.null and short_names[name] then made[short_names[name]] = value end
  end
  return made
end

-- Checks all, once settings from outside were laid over; fills program.breakers and program.breaker_default.
function breakers.finish(state, program)
  local system = state.system
  program.breaker_default = with_short_names(system.breakers.default or {})
  for _, name in ipairs(list_of(system.breakers)) do
    local settings = with_short_names(system.breakers[name])
    local problem = core.breaker_check(program.breaker_default, settings)
    if problem then
      local option = problem:match("breaker option ([%w_.]+)")
      wrong(system.at("breakers", name, option), "breakers.%s: %s", name, problem)
    end
    if name ~= "default" then program.breakers[#program.breakers + 1] = { name = name, settings = settings } end
  end
end

return breakers
