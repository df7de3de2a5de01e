-- SPDX-License-Identifier: MIT
-- wrk -s wrk.lua URL [-- METHOD BODY | -- BOOK BODY]: one line of numbers at the end, for tools.py.

-- BOOK: a booking is posted to URL, its payment looked up, and paid.
local function book(body)
  local waiting, headers = {}, { ["Content-Type"] = "application/json" }
  local post = wrk.format("POST", nil, headers, body)

  function request()
    return table.remove(waiting) or post
  end

  function response(status, answer_headers, answer)
    local booking = status == 201 and (answer_headers["Location"] or ""):match("%d+$")
    local payment = status == 200 and answer:find('"_embedded"', 1, true) and answer:match('/payments/(%d+)"')
    if booking then
      waiting[#waiting + 1] = wrk.format("GET", "/payments/search/findByBookingId?bookingId=" .. booking)
    elseif payment then
      waiting[#waiting + 1] = wrk.format("PATCH", "/payments/" .. payment, headers, "{}")
    end
  end
end

function init(args)
  if args[1] == "BOOK" then
    book(args[2])
  elseif args[1] then
    wrk.method = args[1]
    wrk.body = args[2]
    wrk.headers["Content-Type"] = "application/json"
  end
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    'RESULT {"requests": %d, "us": %d, "p50_us": %d, "p99_us": %d, "refused": %d, "broken": %d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), errors.status,
    errors.connect + errors.read + errors.write + errors.timeout))
end
