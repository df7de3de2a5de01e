-- SPDX-License-Identifier: MIT
-- The twelve points of the book store's user scenario, in virtual time.
local function post(path, body) return request { path = path, body = body } end
local function patch(path, body) return request { method = "PATCH", path = path, body = body } end
local function get(path) return request { method = "GET", path = path } end
local function delete(path) return request { method = "DELETE", path = path } end

local function id_of(answer) return answer.id end

local function store(stock)
  return id_of(post("/customers", { customerName = "Kim" })), id_of(post("/books", { bookName = "Lua", stock = stock }))
end

local function order(customer, book, quantity, amount)
  local placed = post("/orders", { customerId = customer, bookId = book, quantity = quantity, deliveryAddress = "Seoul",
    payAmount = amount or 1000, payType = "card" })
  assert.equal(201, placed.status)
  settle()
  return id_of(placed)
end

local function status(id) return row("order", "orders", id).orderStatus end
local function mypage(id) return rows("customer", "myPages", { orderId = id })[1] end
local function stock(book) return row("bookInventory", "books", book).stock end
local function deliverable(id) return rows("bookInventory", "deliverables", { orderId = id })[1].status end
local function delivery(id) return rows("delivery", "deliveries", { orderId = id })[1] end
local function history(id)
  local list = {}
  for i, entry in ipairs(rows("paymenthistory", "paymentHistories", { orderId = id })) do list[i] = entry.payStatus end
  return list
end

describe("bookstore", function()
  it("SYSTEMS-3a an order is verified, paid through VAN, prepared, shipped, and on the customer's page", function()
    local customer, book = store(100)
    local id = order(customer, book, 10)
    assert.equal("Shipped", status(id))
    assert.equal(90, stock(book))
    assert.equal("Delivery_Prepared", deliverable(id))
    assert.equal("Shipped", delivery(id).deliveryStatus)
    assert.equal("PAYMENT_COMPLETED", rows("payment", "payments", { orderId = id })[1].status)
    assert.same({ "PAYMENT_COMPLETED" }, history(id))
    local page = mypage(id)
    assert.equal("Kim", page.customerName)
    assert.equal("ORDERED", page.orderStatus)
    assert.equal("Shipped", page.deliveryStatus)
    assert.equal(10, page.quantity)
    assert.same({}, letters())
  end)

  it("SYSTEMS-3b an unknown customer or book: the order is kept, and nobody else hears of it", function()
    local customer, book = store(100)
    assert.equal("Customer_Not_Verified", status(order(77, book, 1)))
    assert.equal("Book_Not_Verified", status(order(customer, 77, 1)))
    assert.equal("Customer_Not_Verified", status(order(77, 77, 1)))
    assert.same({}, events("Ordered"))
    assert.same({}, rows("payment", "payments"))
    assert.same({}, rows("customer", "myPages"))
  end)

  it("SYSTEMS-3b a customer service that is down is the same as an unknown customer", function()
    local customer, book = store(100)
    faults { customer = { error_rate = 1 } }
    assert.equal("Customer_Not_Verified", status(order(customer, book, 1)))
    faults { customer = { delay_ms = 3000 } }
    assert.equal("Customer_Not_Verified", status(order(customer, book, 1)))
  end)

  it("SYSTEMS-3c short stock waits; a stock input serves the waiting greedily by order", function()
    local customer, book = store(50)
    local first, second, third = order(customer, book, 100), order(customer, book, 300), order(customer, book, 60)
    assert.equal("ORDERED", status(first))
    assert.equal("Stock_Lacked", deliverable(first))
    assert.equal(50, stock(book))
    local input = post("/stockInputs", { bookId = book, quantity = 200 })
    assert.equal(200, input.status)
    assert.equal(200, input.body.quantity)
    settle()
    assert.equal("Shipped", status(first))
    assert.equal("ORDERED", status(second))
    assert.equal("Shipped", status(third))
    assert.equal(90, stock(book))
    assert.equal(true, post("/stockInputs", { bookId = 99, quantity = 1 }).status >= 500)
  end)

  it("SYSTEMS-3c the transcript: order 4 of 100 copies, stock 50, 200 come in, 150 are left", function()
    local customer, book = store(53)
    for _ = 1, 3 do order(customer, book, 1) end
    local id = order(customer, book, 100)
    assert.equal(4, id)
    local before = #events()
    post("/stockInputs", { bookId = book, quantity = 200 })
    settle()
    local log, new = events(), {}
    for i = before + 1, #log do new[#new + 1] = log[i].type end
    assert.same({ "DeliveryPrepared", "DeliveryStatusChanged" }, new)
    assert.equal(4, log[before + 1].payload.orderId)
    assert.equal("Delivery_Prepared", log[before + 1].payload.status)
    assert.equal(4, log[before + 2].payload.id)
    assert.equal("Shipped", log[before + 2].payload.deliveryStatus)
    assert.equal(150, stock(book))
    assert.equal("Shipped", status(id))
  end)

  it("SYSTEMS-3c a stock input may be written in texts; one that is none changes nothing", function()
    local _, book = store(50)
    assert.equal(200, post("/stockInputs", { bookId = tostring(book), quantity = "7" }).status)
    for _, quantity in ipairs { "x", "", "1.5", "0", "-3", 1.5, {} } do
      assert.equal(400, post("/stockInputs", { bookId = book, quantity = quantity }).status)
    end
    local missing = post("/stockInputs", { bookId = book })
    assert.equal(400, missing.status)
    assert.equal("quantity: expected a whole number, got null", missing.body.message)
    assert.equal(57, stock(book))
    assert.equal(1, #rows("bookInventory", "stockInputRecords"))
  end)

  it("SYSTEMS-3d VAN completes what it is asked for, and fails for 0", function()
    local answer = get("/requestPayment?payment=100")
    assert.equal("PAYMENT_COMPLETED", answer.text)
    assert.equal("text/plain;charset=UTF-8", answer.headers["content-type"])
    assert.equal("PAYMENT_FAILED", get("/requestPayment?payment=0").text)
    assert.equal(1, breaker("van").timeout)
    local missing = get("/requestPayment")
    assert.equal(400, missing.status)
    assert.equal("Required long parameter 'payment' is not present", missing.body.message)
    for _, bad in ipairs { "x", "", "1.5" } do
      assert.equal(400, get("/requestPayment?payment=" .. bad).status)
    end
    assert.equal(200, post("/requestPayment", {}).status)
  end)

  it("SYSTEMS-3d an order without an amount is refused by VAN at once", function()
    local customer, book = store(10)
    local placed = post("/orders", { customerId = customer, bookId = book, quantity = 3 })
    settle()
    assert.equal("Payment_Failed", status(id_of(placed)))
    assert.same({ "PAYMENT_FAILED" }, history(id_of(placed)))
    assert.equal(0, breaker("van").timeout)
  end)

  it("SYSTEMS-3d an order whose payment failed is not shipped, its books go back", function()
    local customer, book = store(10)
    local id = order(customer, book, 3, 0)
    clock.advance("6s")
    assert.equal("Payment_Failed", status(id))
    assert.equal("Payment_Failed", mypage(id).orderStatus)
    assert.equal("CancelDelivery", delivery(id).deliveryStatus)
    assert.equal(10, stock(book))
    assert.same({ "PAYMENT_FAILED" }, history(id))
    assert.equal(409, delete("/orders/" .. id).status)
    assert.same({}, letters())
  end)

  it("SYSTEMS-3d a payment by POST asks VAN and is told; an order is paid once", function()
    local customer, book = store(10)
    local function pay(id, amount) return post("/payments", { orderId = id, amount = amount, type = "card" }) end
    for i, try in ipairs { { 100, "PAYMENT_COMPLETED", "Payed" }, { 0, "PAYMENT_FAILED", "PaymentFailed" } } do
      local amount, became, told = table.unpack(try)
      local paid = pay(500 + i, amount)
      assert.equal(201, paid.status)
      assert.equal(became, paid.body.status)
      assert.equal(1, #events(told))
      assert.same({ became }, history(500 + i))
    end
    local id = order(customer, book, 1)
    local again = pay(id, 0)
    assert.equal(200, again.status)
    assert.equal("PAYMENT_COMPLETED", again.body.status)
    assert.equal(1, #rows("payment", "payments", { orderId = id }))
    assert.equal("Shipped", status(id))
    local placed = post("/orders", { customerId = customer, bookId = book, quantity = 1, payAmount = 7 })
    assert.equal("PAYMENT_COMPLETED", pay(id_of(placed), 7).body.status) -- at the same moment as the store's own
    assert.equal(201, pay(id_of(placed) + 1, 7).status)
    assert.equal(id_of(placed) + 1, order(customer, book, 1))
    for next_one = id_of(placed), id_of(placed) + 1 do
      assert.equal(1, #rows("payment", "payments", { orderId = next_one }))
      assert.equal("Shipped", status(next_one))
    end
    assert.same({}, letters())
  end)

  it("SYSTEMS-3e cancelled while its payment fails: the page keeps CANCELED, its delivery is cancelled once", function()
    local customer, book = store(1)
    local placed = post("/orders", { customerId = customer, bookId = book, quantity = 3, payAmount = 0 })
    assert.equal(204, delete("/orders/" .. id_of(placed)).status)
    clock.advance("6s")
    assert.same({ "PAYMENT_FAILED" }, history(id_of(placed)))
    assert.equal("CANCELED", mypage(id_of(placed)).orderStatus)
    assert.equal(1, #events("DeliveryStatusChanged"))
    assert.same({}, letters())
  end)

  it("SYSTEMS-3e cancel only while ORDERED: refund, history, and the page keeps it", function()
    local customer, book = store(5)
    local shipped, waiting = order(customer, book, 2), order(customer, book, 100)
    local refused = delete("/orders/" .. shipped)
    assert.equal(409, refused.status)
    assert.equal("Order can be canceled ONLY during ORDERED status!!!", refused.body.message)
    assert.equal(204, delete("/orders/" .. waiting).status)
    settle()
    assert.equal(nil, row("order", "orders", waiting))
    assert.equal("CANCELED", mypage(waiting).orderStatus)
    assert.equal("DeliveryCanceled", deliverable(waiting))
    assert.equal("CancelDelivery", delivery(waiting).deliveryStatus)
    assert.same({ "PAYMENT_COMPLETED", "PAYMENT_CANCELED" }, history(waiting))
    post("/stockInputs", { bookId = book, quantity = 200 })
    settle()
    assert.equal(203, stock(book))
  end)

  it("SYSTEMS-3e cancelled before anything was done about it: what is done then is undone", function()
    local customer, book = store(5)
    local placed = post("/orders", { customerId = customer, bookId = book, quantity = 3, payAmount = 1000 })
    assert.equal(204, delete("/orders/" .. id_of(placed)).status)
    settle()
    local prepared = events("DeliveryPrepared")
    assert.equal(1, #prepared)
    assert.equal(5, stock(book))
    assert.equal("DeliveryCanceled", deliverable(id_of(placed)))
    assert.equal("CancelDelivery", delivery(id_of(placed)).deliveryStatus)
    assert.same({ "PAYMENT_COMPLETED", "PAYMENT_CANCELED" }, history(id_of(placed)))
    assert.equal("CANCELED", mypage(id_of(placed)).orderStatus)
    assert.same({}, letters())
  end)

  it("SYSTEMS-3e an order is never modified", function()
    local customer, book = store(5)
    local id = order(customer, book, 1)
    assert.equal(405, patch("/orders/" .. id, { quantity = 2 }).status)
    assert.equal(405, request { method = "PUT", path = "/orders/" .. id, body = { quantity = 2 } }.status)
  end)

  it("SYSTEMS-3f a delivery step by PATCH reaches the order and the page", function()
    local customer, book = store(5)
    local id = order(customer, book, 1)
    patch("/deliveries/" .. delivery(id).id, { deliveryStatus = "ShippingCompleted" })
    settle()
    assert.equal("ShippingCompleted", status(id))
    assert.equal("ShippingCompleted", mypage(id).deliveryStatus)
  end)

  it("SYSTEMS-3g a zombie says so", function()
    local healthy = get("/isHealthy")
    assert.equal(200, healthy.status)
    assert.equal(200, get("/isReady").status)
    assert.equal(200, get("/makeZombie").status)
    local zombie = get("/isHealthy")
    assert.equal(500, zombie.status)
    assert.equal("Zombie...", zombie.body.message)
  end)
end)
