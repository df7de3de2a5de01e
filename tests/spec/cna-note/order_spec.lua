-- SPDX-License-Identifier: MIT
-- The kitchen's rules: paid while ordered, prepared when paid, complete when the delivery says so.
local function post(path, body) return request { path = path, body = body } end
local function patch(path, body) return request { method = "PATCH", path = path, body = body } end

local function id_of(answer) return answer.id end

local function order()
  local placed = post("/orders", { branchId = "1", sauceId = "1", qty = 10, price = 10000 })
  assert.equal(201, placed.status)
  return id_of(placed)
end

local function dashboard(id) return rows("orderDashboard", "orderDashboards", { orderId = id })[1] end

describe("cna-note", function()
  it("SYSTEMS-1a an order is paid, prepared, and on the dashboard", function()
    local id = order()
    settle()
    assert.equal("Registered", row("order", "orders", id).state)
    assert.same({ { id = 1, price = 10000, orderId = id } }, rows("payment", "payments"))
    assert.equal("Preparing", rows("delivery", "deliveries", { orderId = id })[1].state)
    local shown = dashboard(id)
    assert.equal("Preparing", shown.state)
    assert.equal(1, shown.branchId)
    assert.equal("1", shown.sauceId)
    assert.equal(10, shown.qty)
    assert.equal(10000, shown.price)
    local names = {}
    for i, event in ipairs(events()) do names[i] = event.type end
    assert.same({ "Paid", "Ordered", "Delivered" }, names)
    assert.same({}, letters())
  end)

  it("SYSTEMS-1b a payment that is down or slower than 680 ms leaves no order", function()
    for _, fault in ipairs { { error_rate = 1 }, { delay_ms = 681 } } do
      faults { payment = fault }
      local refused = post("/orders", { branchId = 1, sauceId = "1", qty = 1, price = 1 })
      assert.equal(true, refused.status >= 500, refused.status)
      settle()
      assert.same({}, rows("order", "orders"))
      assert.same({}, rows("payment", "payments"))
      assert.same({}, events())
    end
    faults { payment = { delay_ms = 679 } }
    order()
  end)

  it("SYSTEMS-1c a PATCH without a state completes the delivery; with one it is that state", function()
    local id = order()
    settle()
    local delivery = rows("delivery", "deliveries", { orderId = id })[1].id
    assert.equal(true, patch("/deliveries/" .. delivery, { branchLoc = "Seoul" }).status < 300)
    settle()
    assert.equal("Complete", row("delivery", "deliveries", delivery).state)
    assert.equal("Complete", dashboard(id).state)
    patch("/deliveries/" .. delivery, { state = "Returned" })
    settle()
    assert.equal("Returned", row("delivery", "deliveries", delivery).state)
    assert.equal("Returned", dashboard(id).state)
    assert.equal("Returned", events("Delivered")[3].payload.state)
  end)

  it("SYSTEMS-1d an order body with an unknown property is accepted", function()
    local placed = post("/orders", { brancdId = "1", sauceId = "1", qty = 10, price = 10000 })
    assert.equal(201, placed.status)
    assert.equal(nil, row("order", "orders", id_of(placed)).branchId)
  end)
end)
