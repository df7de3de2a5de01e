-- SPDX-License-Identifier: MIT
-- The bakery's rules: paid by the price list while ordered, confirmed when paid, undone when cancelled.
local function post(path, body) return request { path = path, body = body } end
local function patch(path, body) return request { method = "PATCH", path = path, body = body } end

local function id_of(answer) return answer.id end

local function order(item, qty)
  local placed = post("/orders", { item = item or "cake", qty = qty or 1 })
  assert.equal(201, placed.status)
  settle()
  return id_of(placed)
end

local function payment_of(id) return rows("pay", "payments", { orderId = id })[1] end
local function mypage(id) return rows("customer", "mypages", { orderId = id })[1] end

describe("bread", function()
  it("SYSTEMS-4a an order pays once by the price list, the bakery confirms, the page shows it", function()
    local id = order("cake", 1)
    assert.same({ { id = 1, orderId = id, price = 25000.0, action = "apply" } }, rows("pay", "payments"))
    assert.equal("Confirmed", row("order", "orders", id).status)
    local page = mypage(id)
    page.id = nil
    assert.same({ orderId = id, item = "cake", qty = 1, paymentId = 1, price = 25000.0, action = "apply",
      bakeryId = 1, status = "Confirmed" }, page)
    assert.equal(50000.0, payment_of(order("cake", 2)).price)
    assert.same({}, letters())
  end)

  it("SYSTEMS-4a the explicit payment and the explicit confirmation are idempotent per order", function()
    local id = order()
    assert.equal(200, post("/payments", { orderId = id, price = 25000, action = "apply" }).status)
    assert.equal(200, post("/bakeries", { orderId = id, status = "Confirmed" }).status)
    settle()
    assert.equal(1, #rows("pay", "payments"))
    assert.equal(1, #rows("bakery", "bakeries"))
    assert.equal(1, #events("PayApproved"))
    assert.equal(1, #events("OrderConfirmed"))
  end)

  it("SYSTEMS-4b pay down or slower than 610 ms: no order", function()
    for _, fault in ipairs { { error_rate = 1 }, { delay_ms = 611 } } do
      faults { pay = fault }
      assert.equal(true, post("/orders", { item = "cake", qty = 1 }).status >= 500)
      settle()
      assert.same({}, rows("order", "orders"))
      assert.same({}, events())
    end
    faults()
    order()
  end)

  it("SYSTEMS-4c cancel by action, in either spelling, as PATCH and as POST, compensates", function()
    local function check(id, action)
      settle()
      assert.equal(action, payment_of(id).action)
      assert.equal("Canceled", rows("bakery", "bakeries", { orderId = id })[1].status)
      assert.equal("Canceled", row("order", "orders", id).status)
      assert.equal("Canceled", mypage(id).status)
      assert.equal(action, mypage(id).action)
    end
    for n, action in ipairs { "cancle", "cancel" } do
      local id = order()
      patch("/payments/" .. payment_of(id).id, { action = action })
      check(id, action)
      local other = order()
      assert.equal(200, post("/payments", { orderId = other, action = action }).status)
      check(other, action)
      post("/payments", { orderId = other, action = action })
      settle()
      assert.equal(2 * n, #events("PayCanceled"))
    end
  end)

  it("SYSTEMS-4c DELETE of an order cancels its payment and the bakery's work", function()
    local id = order()
    assert.equal(204, request { method = "DELETE", path = "/orders/" .. id }.status)
    settle()
    assert.equal("cancel", payment_of(id).action)
    assert.equal("Canceled", rows("bakery", "bakeries", { orderId = id })[1].status)
    assert.equal("Canceled", mypage(id).status)
    assert.same({}, letters())
  end)

  it("SYSTEMS-4d an item without a price is refused by name", function()
    local refused = post("/orders", { item = "caek", qty = 1 })
    assert.equal(400, refused.status)
    assert(refused.body.message:find('no price for "caek"', 1, true), refused.body.message)
    assert.same({}, rows("order", "orders"))
  end)

  it("SYSTEMS-4d the baker's own word on an order reaches it", function()
    local id = order()
    local bakery = rows("bakery", "bakeries", { orderId = id })[1].id
    patch("/bakeries/" .. bakery, { status = "Rejected" })
    settle()
    assert.equal("Rejected", row("order", "orders", id).status)
    assert.equal("Rejected", mypage(id).status)
  end)
end)
