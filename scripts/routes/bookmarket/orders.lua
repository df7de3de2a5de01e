local pay = breaker "payment"

return {
  event "Ordered" {
    service = "order",
    key     = { order = "id" },
    fields  = { integer "id", integer "bookId", integer "qty", text "status", integer "customerId" },
  },

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
  },
}
