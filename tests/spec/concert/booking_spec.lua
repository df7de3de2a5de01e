-- SPDX-License-Identifier: MIT
-- The rules of the ticket office: approved when paid and there are tickets, rejected when there are none.
local function post(path, body) return request { path = path, body = body } end
local function patch(path, body) return request { method = "PATCH", path = path, body = body } end
local function delete(path) return request { method = "DELETE", path = path } end

local function id_of(answer) return answer.id end

local function concert(tickets) return id_of(post("/concerts", { name = "Moon", ticketQty = tickets })) end

local function book(concert_id, qty)
  local placed = post("/bookings/", { concertId = concert_id, userId = 1, qty = qty })
  assert.equal(201, placed.status)
  settle()
  return id_of(placed)
end

local function payment_of(booking) return rows("payment", "payments", { bookingId = booking })[1] end

local function pay(booking)
  assert.equal(true, patch("/payments/" .. payment_of(booking).id, {}).status < 300)
  settle()
end

local function tickets(concert_id) return row("concert", "concerts", concert_id).ticketQty end
local function status(booking) return row("booking", "bookings", booking).status end
local function history(booking) return rows("mypage", "bookingHistories", { bookingId = booking })[1].status end

describe("concert", function()
  it("SYSTEMS-2a registered, signed up, booked, paid, approved: the tickets go down", function()
    local id = concert(100)
    assert.equal(201, post("/users", { name = "Kim" }).status)
    local booking = book(id, 5)
    assert.equal("BookingRequested", status(booking))
    assert.equal("BookingRequested", history(booking))
    pay(booking)
    assert.equal("BookingApproved", status(booking))
    assert.equal("BookingApproved", history(booking))
    assert.equal(95, tickets(id))
    assert.equal(95, events("TicketUpdated")[1].payload.ticketQty)
    assert.equal("booking/" .. booking, events("TicketsTaken")[1].key)
    assert.same({}, letters())
  end)

  it("SYSTEMS-2a paying twice takes the tickets once", function()
    local id = concert(100)
    local booking = book(id, 5)
    pay(booking)
    pay(booking)
    patch("/payments/" .. payment_of(booking).id, { status = "PaymentApproved" })
    settle()
    assert.equal(95, tickets(id))
    assert.equal(1, #events("PaymentApproved"))
  end)

  it("SYSTEMS-2a a PATCH to another status does not approve", function()
    local id = concert(100)
    local booking = book(id, 5)
    patch("/payments/" .. payment_of(booking).id, { status = "Checking" })
    settle()
    assert.equal("BookingRequested", status(booking))
    assert.equal(100, tickets(id))
  end)

  it("SYSTEMS-2b cancelling gives back what was taken and cancels the payment", function()
    local id = concert(100)
    local booking = book(id, 5)
    pay(booking)
    assert.equal(204, delete("/bookings/" .. booking).status)
    settle()
    assert.equal(100, tickets(id))
    assert.same({}, rows("payment", "payments"))
    assert.equal("PaymentCanceled", history(booking))
    assert.equal(1, #events("PaymentCanceled"))
  end)

  it("SYSTEMS-2b cancelling what was never paid gives nothing back", function()
    local id = concert(100)
    local booking = book(id, 5)
    delete("/bookings/" .. booking)
    settle()
    assert.equal(100, tickets(id))
    assert.same({}, rows("payment", "payments"))
  end)

  it("SYSTEMS-2c a payment that is slow or down: the booking is accepted, the payment follows by itself", function()
    for _, fault in ipairs { { delay_ms = 700 }, { error_rate = 1 } } do
      local id = concert(10)
      faults { payment = fault }
      local placed = post("/bookings", { concertId = id, userId = 1, qty = 1 })
      assert.equal(201, placed.status)
      local booking = id_of(placed)
      settle()
      assert.equal("BookingRequested", status(booking))
      assert.equal("BookingRequested", history(booking))
      assert.equal(nil, payment_of(booking))
      clock.advance("20s")
      assert.equal(nil, payment_of(booking))
      faults()
      clock.advance("16s")
      assert.equal(booking, payment_of(booking).bookingId)
      assert.equal(true, #events("PaymentDeferred") >= 2)
      pay(booking)
      assert.equal("BookingApproved", status(booking))
      assert.same({}, letters())
    end
  end)

  it("SYSTEMS-2c a booking that is cancelled meanwhile is not paid any more", function()
    local id = concert(10)
    faults { payment = { error_rate = 1 } }
    local booking = book(id, 1)
    delete("/bookings/" .. booking)
    settle()
    faults()
    clock.advance("1m")
    assert.same({}, rows("payment", "payments"))
    assert.same({}, events("PaymentRequested"))
  end)

  it("SYSTEMS-2d there are no tickets for more: rejected, the payment is cancelled, never below 0", function()
    local id = concert(7)
    local bookings = {}
    for i = 1, 4 do bookings[i] = book(id, 2) end
    for i = 1, 4 do pay(bookings[i]) end
    assert.equal(1, tickets(id))
    for i = 1, 3 do assert.equal("BookingApproved", status(bookings[i])) end
    assert.equal("BookingRejected", status(bookings[4]))
    assert.equal("BookingRejected", history(bookings[4]))
    assert.equal(nil, payment_of(bookings[4]))
    assert.equal(3, #rows("payment", "payments"))
    delete("/bookings/" .. bookings[4])
    settle()
    assert.equal(1, tickets(id))
  end)

  it("SYSTEMS-2d a concert that is not there refuses", function()
    local booking = book(77, 1)
    pay(booking)
    assert.same({}, letters())
    assert.equal("BookingRejected", status(booking))
  end)
end)
