---@meta
-- The words of Moontide's scripts, for editors. Printed by `moontide stubs`; changes here are lost.

---@alias duration string|integer "610ms", "10s", "15m", "72h", or milliseconds
---@alias id integer|row

---@class row A row or an event: its fields by name.
---@field id integer
---@field [string] any

---@class failure What is raised.
---@field code string
---@field message string
---@field status integer
---@field retryable boolean
---@field origin string

---@class answer What a called service answered.
---@field status integer
---@field headers table<string, string>
---@field body any

---@class find_options
---@field order? string "field" or "-field"
---@field limit? integer
---@field offset? integer

---@class collapser_options
---@field body fun(list: any[]): any[] The answers, in the order of what is asked for.
---@field max? integer
---@field wait? duration
---@field scope? "request"|"worker"
---@field fallback? fun(err: failure, list: any[]): any[]
---@field classify? fun(err?: failure, ...): string?
---@field retries? integer
---@field retry_in? duration
---@field hedge? duration

---@class call_options
---@field fallback? fun(err: failure): ...
---@field classify? fun(err?: failure, ...): string?
---@field retries? integer
---@field retry_in? duration
---@field hedge? duration
---@field cache_key? string|number
---@field coalesce? boolean

---@class bounds
---@field min? number
---@field max? number

---@class declaration

---@class field
---@overload fun(options: field_options): field

---@class breaker_handle
local breaker_handle = {}

---@class event_options
---@field fields? table
---@field key? table
---@field retention? string|number
---@field service? string

---@class field_options
---@field default? string|number|boolean
---@field index? boolean
---@field length? number
---@field max? number
---@field min? number
---@field pattern? string
---@field renamed_from? string
---@field required? boolean
---@field unique? boolean

---@class policy_options
---@field budget? table
---@field handle? function
---@field key? string
---@field on? string|table
---@field park? boolean
---@field renamed_from? string
---@field service? string

---@class resource_options
---@field before_create? function
---@field before_delete? function
---@field before_update? function
---@field fields? table
---@field finders? table
---@field guard? function
---@field id? string
---@field methods? table
---@field on_create? function
---@field on_delete? function
---@field on_update? function
---@field path? string
---@field rel? string
---@field service? string
---@field unique? table

---@class route_options
---@field guard? function
---@field handle? function
---@field method? string
---@field path? string
---@field service? string

---@class view_options
---@field by? string|table
---@field fields? table
---@field finders? table
---@field id? string
---@field on? table
---@field path? string
---@field rel? string
---@field service? string

---Declares an event: its key and fields.
---@param name string
---@return fun(options: event_options): declaration
function event(name) end

---Declares a table of a service that is reachable over HTTP.
---@param name string
---@return fun(options: resource_options): declaration
function resource(name) end

---Declares an HTTP endpoint as a function.
---@param name string
---@return fun(options: route_options): declaration
function route(name) end

---Declares what is done whenever an event is committed.
---@param name string
---@return fun(options: policy_options): declaration
function policy(name) end

---Declares a table whose rows are made of events.
---@param name string
---@return fun(options: view_options): declaration
function view(name) end

---A field: integers of 64 bits. integer "qty" { min = 1 }
---@param name string
---@return field
function integer(name) end

---A field: floats.
---@param name string
---@return field
function number(name) end

---A field with digits behind the point: decimal(2) "price"
---@param digits integer
---@return fun(name: string): field
function decimal(digits) end

---A field: UTF-8 text.
---@param name string
---@return field
function text(name) end

---A field: true or false.
---@param name string
---@return field
function boolean(name) end

---A field: epoch milliseconds in Lua, RFC 3339 in JSON.
---@param name string
---@return field
function timestamp(name) end

---The circuit breaker of that name in the system file.
---@param name string
---@return breaker_handle
function breaker(name) end

---The values of body, guarded. When it fails, is late or is not let through: those of fallback, else the error.
---@param body (fun(): ...)
---@param fallback? (fun(err: failure): ...)|call_options
---@return ...
function breaker_handle:call(body, fallback) end

---At the top of a file: a function whose calls of a short while are made as one.
---@param options collapser_options
---@return fun(argument: any): any
function breaker_handle:collapser(options) end

---@class storelib
store = {}

---The row, or nil.
---@param table string
---@param id id
---@return row?
function store.get(table, id) end

---The rows that match, ids ascending.
---@param table string
---@param where? table
---@param options? find_options
---@return row[]
function store.find(table, where, options) end

---The first row that matches, or nil.
---@param table string
---@param where? table
---@param options? find_options
---@return row?
function store.first(table, where, options) end

---How many rows match.
---@param table string
---@param where? table
---@return integer
function store.count(table, where) end

---A new row, its id known.
---@param table string
---@param values table
---@return row
function store.create(table, values) end

---The changed row, or nil if there is none.
---@param table string
---@param id id
---@param changes table
---@return row?
function store.update(table, id, changes) end

---The first row that matches, changed, or a new one of both.
---@param table string
---@param where table
---@param changes table
---@return row
function store.upsert(table, where, changes) end

---True, or false if there was none.
---@param table string
---@param id id
---@return boolean
function store.delete(table, id) end

---Adds to numbers of a row without a conflict; a sum outside of the bounds is refused.
---@param table string
---@param id id
---@param deltas table
---@param bounds? bounds
function store.add(table, id, deltas, bounds) end

---Calls fn(row) for each row that matches; returning false stops.
---@param table string
---@param where table|nil|fun(row: row)
---@param fn? (fun(row: row): boolean?)
function store.each(table, where, fn) end

---What fn gives; all its reads see one picture.
---@param fn (fun(): ...)
---@return ...
function store.snapshot(fn) end

---@class buslib
bus = {}

---Emits an event with the task's commit.
---@param type string
---@param source? table|row
---@param overrides? table
function bus.emit(type, source, overrides) end

---Sets a durable timer that emits later; its id.
---@param delay duration
---@param type string
---@param source? table|row
---@param overrides? table
---@return integer
function bus.emit_in(delay, type, source, overrides) end

---The same, at a time in epoch milliseconds.
---@param time integer
---@param type string
---@param source? table|row
---@param overrides? table
---@return integer
function bus.emit_at(time, type, source, overrides) end

---Cancels a timer; one that has fired is passed over.
---@param id integer
function bus.cancel(id) end

---@class httplib
http = {}

---Calls; raises on no answer and from status 400 on.
---@param url string
---@param options? table
---@return answer
function http.get(url, options) end

---The same, with a body that goes as JSON.
---@param url string
---@param body? any
---@param options? table
---@return answer
function http.post(url, body, options) end

---The same.
---@param url string
---@param body? any
---@param options? table
---@return answer
function http.put(url, body, options) end

---The same.
---@param url string
---@param body? any
---@param options? table
---@return answer
function http.patch(url, body, options) end

---Calls without a body.
---@param url string
---@param options? table
---@return answer
function http.delete(url, options) end

---@class cachelib
cache = {}

---What is kept under this key of the service, or nil. Lost at a stop.
---@param key string
---@return any
function cache.get(key) end

---Keeps a value, or removes it if it is nil.
---@param key string
---@param value any
---@param ttl? duration|table
function cache.set(key, value, ttl) end

---Adds in one step for all workers; the sum.
---@param key string
---@param delta? integer
---@param ttl? duration|table
---@return integer
function cache.add(key, delta, ttl) end

---@class clocklib
clock = {}

---Epoch milliseconds.
---@return integer
function clock.now() end

---"2026-01-01T00:00:00.000Z"; now unless given.
---@param ms? integer
---@return string
function clock.iso(ms) end

---@class jsonlib
---@overload fun(name: string): field A field that holds JSON.
json = {}

---Compact JSON.
---@param value any
---@return string
function json.encode(value) end

---The value of a JSON text.
---@param text string
---@return any
function json.decode(text) end

---Marks a table as a list, so that it is [] when empty.
---@param list? table
---@return table
function json.array(list) end

---null, in a list or a condition.
---@type lightuserdata
json.null = nil

---@class cjsonlib
cjson = {}

---lua-cjson, unchanged.
---@param value any
---@return string
function cjson.encode(value) end

---lua-cjson, unchanged.
---@param text string
---@return any
function cjson.decode(text) end

---lua-cjson's null.
---@type lightuserdata
cjson.null = nil

---lua-cjson's name.
---@type string
cjson._NAME = nil

---lua-cjson's version.
---@type string
cjson._VERSION = nil

---@class loglib
log = {}

---A line in the server's log.
---@param message any
---@param data? any
function log.debug(message, data) end

---A line in the server's log.
---@param message any
---@param data? any
function log.info(message, data) end

---A line in the server's log.
---@param message any
---@param data? any
function log.warn(message, data) end

---A line in the server's log.
---@param message any
---@param data? any
function log.error(message, data) end

---The table `config` of the system file, with settings from outside. Read-only.
---@type table
config = nil

---@class tasklib
task = {}

---Waits.
---@param time duration
function task.sleep(time) end

---Runs them side by side; the first value of each. The first error cancels the rest.
---@param ... function
---@return ...
function task.all(...) end

---The values of the first that succeeds; the others are cancelled.
---@param ... function
---@return ...
function task.race(...) end

---The values of fn(...); if it raises, what it changed is dropped.
---@param fn function
---@param ... any
---@return ...
function unit(fn, ...) end

---The values of fn(...), or nil and the error.
---@param fn function
---@param ... any
---@return any
---@return failure?
function try(fn, ...) end

---Ends the task with this status, 400 to 599, and drops its changes.
---@param status integer
---@param message? any
function fail(status, message) end

---In a breaker's body: fn() runs when the body is given up.
---@param fn function
function on_cancel(fn) end

---What a file of scripts/lib returned: use "lib.money".
---@param name string
---@return table
function use(name) end

---The answer of a route.
---@param status integer
---@param body? any
---@param headers? table
---@return table
function response(status, body, headers) end

---Raises message if value is false or nil, else gives all.
---@param value any
---@param message? any
---@param ... any
---@return any
---@return ...
function assert(value, message, ...) end

---Raises.
---@param message? any
---@param level? integer
function error(message, level) end

---Walks a list: for i, value in ipairs(list) do.
---@param list table
---@return function
---@return table
---@return integer
function ipairs(list) end

---The key behind this one, and its value.
---@param table table
---@param key? any
---@return any
---@return any
function next(table, key) end

---Walks a table: for key, value in pairs(t) do.
---@param table table
---@return function
---@return table
---@return any
function pairs(table) end

---True and the values of fn(...), or false and the error.
---@param fn function
---@param ... any
---@return boolean
---@return ...
function pcall(fn, ...) end

---pcall whose error goes through handler.
---@param fn function
---@param handler function
---@param ... any
---@return boolean
---@return ...
function xpcall(fn, handler, ...) end

---The arguments from the n-th on, or their number.
---@param n integer|'#'
---@param ... any
---@return ...
function select(n, ...) end

---The number, or nil.
---@param value any
---@param base? integer
---@return number?
function tonumber(value, base) end

---The value as text.
---@param value any
---@return string
function tostring(value) end

---The name of its type.
---@param value any
---@return string
function type(value) end

---Equal, whatever their metatables say.
---@param a any
---@param b any
---@return boolean
function rawequal(a, b) end

---The field itself, whatever the metatable says.
---@param table table
---@param key any
---@return any
function rawget(table, key) end

---The length, whatever the metatable says.
---@param value table|string
---@return integer
function rawlen(value) end

---Sets it (without __gc); the table.
---@param table table
---@param metatable? table
---@return table
function setmetatable(table, metatable) end

---@class coroutinelib
coroutine = {}

---Closes it and its <close> variables.
---@param co thread
---@return boolean
---@return any
function coroutine.close(co) end

---A coroutine.
---@param fn function
---@return thread
function coroutine.create(fn) end

---Can it yield?
---@param co? thread
---@return boolean
function coroutine.isyieldable(co) end

---Goes on with it.
---@param co thread
---@param ... any
---@return boolean
---@return ...
function coroutine.resume(co, ...) end

---The one that runs, and whether it is the main one.
---@return thread
---@return boolean
function coroutine.running() end

---running, suspended, normal or dead.
---@param co thread
---@return string
function coroutine.status(co) end

---A coroutine as a function that goes on with it.
---@param fn function
---@return function
function coroutine.wrap(fn) end

---Gives values to whoever resumed it.
---@param ... any
---@return ...
function coroutine.yield(...) end

---@class mathlib
math = {}

---Without its sign.
---@param x number
---@return number
function math.abs(x) end

---Arc cosine.
---@param x number
---@return number
function math.acos(x) end

---Arc sine.
---@param x number
---@return number
function math.asin(x) end

---Arc tangent of y/x.
---@param y number
---@param x? number
---@return number
function math.atan(y, x) end

---Rounded up.
---@param x number
---@return integer
function math.ceil(x) end

---Cosine.
---@param x number
---@return number
function math.cos(x) end

---Radians as degrees.
---@param x number
---@return number
function math.deg(x) end

---e to the power of x.
---@param x number
---@return number
function math.exp(x) end

---Rounded down.
---@param x number
---@return integer
function math.floor(x) end

---The rest of x/y, rounded towards zero.
---@param x number
---@param y number
---@return number
function math.fmod(x, y) end

---More than any other number.
---@type number
math.huge = nil

---Logarithm, natural unless a base is given.
---@param x number
---@param base? number
---@return number
function math.log(x, base) end

---The greatest.
---@param x number
---@param ... number
---@return number
function math.max(x, ...) end

---The greatest integer.
---@type integer
math.maxinteger = nil

---The least.
---@param x number
---@param ... number
---@return number
function math.min(x, ...) end

---The least integer.
---@type integer
math.mininteger = nil

---The whole part and the fraction.
---@param x number
---@return number
---@return number
function math.modf(x) end

---3.14...
---@type number
math.pi = nil

---Degrees as radians.
---@param x number
---@return number
function math.rad(x) end

---From 0 to 1; 1 to m; m to n.
---@param m? integer
---@param n? integer
---@return number
function math.random(m, n) end

---Seeds the numbers of this task.
---@param seed number
function math.randomseed(seed) end

---Sine.
---@param x number
---@return number
function math.sin(x) end

---Square root.
---@param x number
---@return number
function math.sqrt(x) end

---Tangent.
---@param x number
---@return number
function math.tan(x) end

---The integer of the same value, or nil.
---@param x any
---@return integer?
function math.tointeger(x) end

---integer, float, or nil.
---@param x any
---@return string?
function math.type(x) end

---Less, as integers without a sign.
---@param m integer
---@param n integer
---@return boolean
function math.ult(m, n) end

---@class stringlib
string = {}

---The codes of characters.
---@param text string
---@param first? integer
---@param last? integer
---@return integer ...
function string.byte(text, first, last) end

---The text of these codes.
---@param ... integer
---@return string
function string.char(...) end

---Where the pattern is found first, and its captures.
---@param text string
---@param pattern string
---@param from? integer
---@param plain? boolean
---@return integer?
---@return integer?
---@return ...
function string.find(text, pattern, from, plain) end

---The text with its values filled in.
---@param format string
---@param ... any
---@return string
function string.format(format, ...) end

---Walks all matches.
---@param text string
---@param pattern string
---@param from? integer
---@return function
function string.gmatch(text, pattern, from) end

---The text with matches replaced, and their number.
---@param text string
---@param pattern string
---@param replacement string|table|function
---@param most? integer
---@return string
---@return integer
function string.gsub(text, pattern, replacement, most) end

---Its bytes.
---@param text string
---@return integer
function string.len(text) end

---In lower case (ASCII).
---@param text string
---@return string
function string.lower(text) end

---The captures of the first match.
---@param text string
---@param pattern string
---@param from? integer
---@return any
---@return ...
function string.match(text, pattern, from) end

---The values as binary.
---@param format string
---@param ... any
---@return string
function string.pack(format, ...) end

---The bytes of such a binary.
---@param format string
---@return integer
function string.packsize(format) end

---n times.
---@param text string
---@param n integer
---@param separator? string
---@return string
function string.rep(text, n, separator) end

---Backwards.
---@param text string
---@return string
function string.reverse(text) end

---A part.
---@param text string
---@param first integer
---@param last? integer
---@return string
function string.sub(text, first, last) end

---The values of a binary.
---@param format string
---@param text string
---@param from? integer
---@return any
---@return ...
function string.unpack(format, text, from) end

---In upper case (ASCII).
---@param text string
---@return string
function string.upper(text) end

---@class tablelib
table = {}

---The elements as one text.
---@param list table
---@param separator? string
---@param first? integer
---@param last? integer
---@return string
function table.concat(list, separator, first, last) end

---table.insert(list, value), or (list, position, value).
---@param list table
---@param ... any
function table.insert(list, ...) end

---Copies elements; to.
---@param from table
---@param first integer
---@param last integer
---@param at integer
---@param to? table
---@return table
function table.move(from, first, last, at, to) end

---All as a list with n.
---@param ... any
---@return table
function table.pack(...) end

---Takes one out, the last unless given.
---@param list table
---@param position? integer
---@return any
function table.remove(list, position) end

---Sorts in place.
---@param list table
---@param less? (fun(a: any, b: any): boolean)
function table.sort(list, less) end

---The elements.
---@param list table
---@param first? integer
---@param last? integer
---@return ...
function table.unpack(list, first, last) end

---@class utf8lib
utf8 = {}

---The text of these code points.
---@param ... integer
---@return string
function utf8.char(...) end

---The pattern of one character.
---@type string
utf8.charpattern = nil

---Code points.
---@param text string
---@param first? integer
---@param last? integer
---@param lax? boolean
---@return integer ...
function utf8.codepoint(text, first, last, lax) end

---Walks characters.
---@param text string
---@param lax? boolean
---@return function
---@return string
---@return integer
function utf8.codes(text, lax) end

---Its characters, or nil and where it is no UTF-8.
---@param text string
---@param first? integer
---@param last? integer
---@param lax? boolean
---@return integer?
---@return integer?
function utf8.len(text, first, last, lax) end

---Where the n-th character begins.
---@param text string
---@param n integer
---@param from? integer
---@return integer?
function utf8.offset(text, n, from) end
