local health = use "lib.health"
local book, customer = breaker "book", breaker "customer"

-- What a service answers to a GET; nil when it does not know, is down or is too slow.
local function ask(through, url)
  local answer = try(through.call, through, function() return http.get(url) end)
  return answer and answer.body
end

return {
  event "Ordered" {
    service = "order",
    key     = { order = "orderId" },
    fields  = {
      integer "orderId", integer "bookId", integer "customerId", integer "quantity", text "deliveryAddress",
      text "orderStatus", number "payAmount", text "payType",
    },
  },
  event "OrderCanceled" {
    service = "order",
    key     = { order = "orderId" },
    fields  = { integer "orderId", text "status" },
  },

  -- The customer of an accepted order as the customer service knows them, for read models.
  event "CustomerVerified" {
    service = "order",
    key     = { order = "orderId" },
    fields  = { integer "orderId", integer "customerId", text "customerName" },
  },

  resource "orders" {
    service = "order",
    rel     = "order",
    id      = "orderId",
    methods = { "GET", "POST", "DELETE" }, -- an order is never modified
    fields  = {
      integer "bookId",
      integer "customerId",
      integer "quantity" { min = 1, default = 1 },
      text    "deliveryAddress",
      number  "payAmount",
      text    "payType",
      text    "orderStatus",
    },

    -- Book and customer must be known. An order that cannot be verified is kept, but nobody else hears of it.
    before_create = function(order)
      order.orderStatus = "ORDERED"
      if not (order.bookId and ask(book, "http://bookInventory/books/" .. order.bookId)) then
        order.orderStatus = "Book_Not_Verified"
      end
      local known = order.customerId and ask(customer, "http://customer/customers/" .. order.customerId)
      if not known then
        order.orderStatus = "Customer_Not_Verified"
      elseif order.orderStatus == "ORDERED" then
        bus.emit("CustomerVerified", {
          orderId = order.orderId, customerId = order.customerId, customerName = known.customerName,
        })
      end
    end,

    on_create = function(order)
      if order.orderStatus == "ORDERED" then bus.emit("Ordered", order) end
    end,

    before_delete = function(order)
      if order.orderStatus ~= "ORDERED" then
        fail(409, "Order can be canceled ONLY during ORDERED status!!!")
      end
    end,

    on_delete = function(order)
      bus.emit("OrderCanceled", { orderId = order.orderId, status = "CANCELED" })
    end,
  },

  route "verify customer" {
    service = "order",
    method  = "GET",
    path    = "/orderService/verifyCustomer/{id}",
    handle  = function(request)
      if not ask(customer, "http://customer/customers/" .. request.params.id) then
        fail(500, "customer " .. request.params.id .. " cannot be verified")
      end
      return "Success..............."
    end,
  },

  health.is_healthy("order", "zombie....."),
  health.make_zombie("order"),
}
