-- SPDX-License-Identifier: MIT
-- Many calls made as one: those of a short while are collected, one body is called with the list of what they ask for,
-- and each gets its own of the list that it returns.
local core, veneer = ...

local checks, shared = veneer("checks"), veneer("shared")

local collapser = {}

local MAX, MOST, WAIT_MS = 100, 1000, 10

local own_options = { body = "function", max = "number", wait = "number|string", scope = "string" }
local scopes = { request = true, worker = true }

-- ---- collecting ----

local everywhere = {} -- batches that requests of this worker collect together

-- What is asked for by several is asked for once.
local function text_of(argument)
  local kind = type(argument)
  if kind == "table" or kind == "userdata" then return "json:" .. core.json.encode(argument) end
  return (math.type(argument) or kind) .. ":" .. tostring(argument)
end

local function batch_of(made, place, key)
  local batch = place[key]
  if not batch then
    batch = { made = made, place = place, key = key, flight = core.flight(), items = {}, by_text = {},
      due = core.loop_ms() + made.wait }
    place[key] = batch
  end
  return batch
end

-- No more are taken in.
local function fill(batch)
  batch.full = true
  if batch.place[batch.key] == batch then batch.place[batch.key] = nil end
end

local function item_of(batch, argument)
  local text = text_of(argument)
  local item = batch.by_text[text]
  if item then
    core.note(batch.made.handle, "cached")
  else
    item = { text = text, argument = batch.made.everywhere and shared.exported(argument) or { value = argument },
      members = 0 }
    batch.by_text[text] = item
    batch.items[#batch.items + 1] = item
    if #batch.items >= batch.made.max then
      fill(batch)
      core.wake(batch.flight)
    end
  end
  item.members = item.members + 1
  return item
end

-- Whoever is cancelled takes what it alone asked for along, unless it is on its way already.
local leaving = { __close = function(seat)
  local batch, item = seat.batch, seat.item
  item.members = item.members - 1
  if item.members > 0 or batch.full then return end
  batch.by_text[item.text] = nil
  for i, each in ipairs(batch.items) do
    if each == item then table.remove(batch.items, i) break end
  end
end }

-- ---- the call ----

local function no_answer(made, i)
  core.misuse(("%s: the body gave no answer for item %d of its list; json.null stands for none"):format(made.name, i))
end

local function hand_out(batch, items, answers)
  local made = batch.made
  if type(answers) ~= "table" then
    core.misuse(("%s: the body of a collapser returns a list, this one returned a %s"):format(made.name, type(answers)))
  end
  for i, item in ipairs(items) do
    if answers[i] == nil then
      item.err = core.wrap_error(select(2, core.pcall(no_answer, made, i)))
    else
      item.answer = made.everywhere and shared.exported(answers[i]) or { value = answers[i] }
    end
  end
end

local function run(batch, call)
  local made, items, list = batch.made, {}, {}
  for _, item in ipairs(batch.items) do
    if item.members > 0 then
      items[#items + 1] = item
      list[#list + 1] = shared.imported(item.argument)
    end
  end
  core.note(made.handle, "collapsed", #items)
  local options = {}
  for name, value in pairs(made.options) do options[name] = value end
  local fallback = made.options.fallback
  if fallback then options.fallback = function(err) return fallback(err, list) end end
  local function body() return made.body(list) end
  local ok, err = core.pcall(function()
    hand_out(batch, items, (call(made.handle, made.everywhere and shared.reading(body) or body, options)))
  end)
  if not ok then batch.err = core.wrap_error(err) end
  batch.done = true
end

local function lead(batch, call)
  local _ <close> = shared.leading(batch.flight)
  while not batch.full and core.loop_ms() < batch.due do
    core.await(batch.flight, batch.due - core.loop_ms())
  end
  fill(batch)
  run(batch, call)
end

local function ask(made, call, argument)
  if argument == nil then core.misuse(made.name .. ": a collapser is asked for something, got nil") end
  local place = made.everywhere and everywhere or core.request_cache()
  local batch = batch_of(made, place, table.concat({ "batch", core.service(), made.number }, "\0"))
  local item = item_of(batch, argument)
  local _ <close> = setmetatable({ batch = batch, item = item }, leaving)
  while not batch.done do
    if core.lead(batch.flight) then lead(batch, call) else core.await(batch.flight) end
  end
  local err = batch.err or item.err
  if err then error(made.everywhere and shared.same_error(err) or err, 0) end
  local answer = shared.imported(item.answer)
  if answer == core.json.null then return nil end
  return answer
end

-- ---- declaring ----

local count = 0

-- Bodies that no file was looked through for yet.
local unseen = {}

--- The bodies since the last time: { name = function }.
function collapser.take_unseen()
  local taken = unseen
  unseen = {}
  return taken
end

local function check(name, at, options, known, check_values)
  for option, kind in pairs(own_options) do known[option] = kind end
  checks.check_options(name, at, options, known)
  checks.need(name, at, options, "body")
  check_values(name, at, options)
  local max, scope = options.max or MAX, options.scope or "request"
  if math.type(max) ~= "integer" or max < 1 or max > MOST then
    checks.wrong(at, "%s: max must be a whole number from 1 to %d", name, MOST)
  end
  if not scopes[scope] then
    checks.wrong(at, '%s: scope must be "request" or "worker", got "%s"%s', name, scope,
      checks.did_you_mean(scope, scopes))
  end
end

--- What `handle:collapser` is. call(handle, body, options) makes a call, known are its options.
function collapser.word(call, known, check_values)
  local call_options = {}
  for _, name in ipairs { "fallback", "classify", "retries", "retry_in", "hedge" } do
    call_options[name] = known[name]
  end
  return function(handle, options)
    local at, name = checks.here(), "breaker:collapser"
    if core.service() then core.misuse("breaker:collapser stands at the top of a file, where all requests share it") end
    local allowed = {}
    for option, kind in pairs(call_options) do allowed[option] = kind end
    check(name, at, options, allowed, check_values)
    count = count + 1
    local made = { handle = handle, name = at, number = count, body = options.body, max = options.max or MAX,
      wait = options.wait and core.duration(options.wait) or WAIT_MS, everywhere = options.scope == "worker",
      options = {} }
    for option in pairs(call_options) do made.options[option] = options[option] end
    unseen["collapser " .. count] = options.body
    unseen["fallback " .. count] = options.fallback
    unseen["classify " .. count] = options.classify
    return function(argument) return ask(made, call, argument) end
  end
end

return collapser
