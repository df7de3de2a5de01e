-- SPDX-License-Identifier: MIT
-- Where services run: here, or in another process that is reached by its url. What a service elsewhere declares is
-- checked like the rest and then left out; its events stay declared, because the rules here may name them.
local core = ...

local place = {}

local function names_of(services)
  local names = {}
  for name in pairs(services) do names[#names + 1] = name end
  table.sort(names)
  return names
end

local function chosen(services, only)
  local set = {}
  for name in only:gmatch("[^,]+") do
    name = name:match("^%s*(.-)%s*$")
    if not services[name] then
      local names = names_of(services)
      local nearest = core.nearest(name, names)
      error(('--only: there is no service "%s"; %s'):format(name, nearest and ('did you mean "%s"?'):format(nearest)
        or "there are " .. table.concat(names, ", ")), 0)
    end
    set[name] = true
  end
  return set
end

-- only: "order,delivery", "*" for all (specs run a system as one process), or "" for all that have no url.
function place.services(system, only)
  local set = only ~= "" and only ~= "*" and chosen(system.services, only)
  for name, settings in pairs(system.services) do
    if set then
      settings.here = set[name] or false
    else
      settings.here = only == "*" or settings.url == ""
    end
  end
end

local function runs_here(state, file)
  for _, made in ipairs(state.declared) do
    if made.kind ~= "event" and made.at:sub(1, #file.path + 1) == file.path .. ":"
      and state.system.services[made.service].here then
      return true
    end
  end
  return false
end

local function is_lost(settings) return not settings.here and settings.url == "" end

local function any_is_lost(services)
  for _, settings in pairs(services) do
    if is_lost(settings) then return true end
  end
  return false
end

-- A call of a service that no url leads to is told when the scripts load, as far as its URL is written out.
function place.check_calls(state, files)
  if not any_is_lost(state.system.services) then return end
  for _, file in ipairs(files) do
    local number, here = 0, nil
    for line in (file.source .. "\n"):gmatch("(.-)\n") do
      number = number + 1
      for name in line:gsub("%-%-.*$", ""):gmatch("[\"'%[]http://([%w_%-]+)") do
        local settings = state.system.services[name]
        if settings and is_lost(settings) then
          if here == nil then here = runs_here(state, file) end
          if here then
            error(("%s:%d: service %s is not in this process (--only) and has no url (services.%s.url)"):format(
              file.path, number, name, name), 0)
          end
        end
      end
    end
  end
end

return place
