local pay = breaker "payment"

local order_fields = { integer "id", integer "bookId", integer "qty", text "status", integer "customerId" }

return {
  event "Ordered"       { service = "order", key = { order = "id" }, fields = order_fields },
  event "OrderCanceled" { service = "order", key = { order = "id" }, fields = order_fields },

  resource "orders" {
    service = "order",
    rel     = "order",
    fields  = {
      integer "bookId"     { required = true },
      integer "qty"        { min = 1, default = 1 },
      text    "status",
      integer "customerId" { index = true },
    },

    -- An order that is not paid is not accepted: the payment is part of placing it.
    on_create = function(order)
      pay:call(function()
        http.post("http://payment/payments", {
          orderId = order.id, status = "Ordered", customerId = order.customerId,
        })
      end)
      bus.emit("Ordered", order, { status = "Ordered" })
    end,

    on_delete = function(order)
      bus.emit("OrderCanceled", order, { status = "OrderCanceled" })
    end,
  },
}
