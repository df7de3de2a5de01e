-- Every order of every customer, cancelled ones too: a row an order.
return view "myPages" {
  service = "customer",
  rel     = "myPage",
  by      = "orderId",
  fields  = {
    integer "customerId",
    text    "customerName",
    text    "orderStatus",
    integer "orderId",
    integer "bookId",
    text    "deliveryStatus",
    integer "quantity",
    text    "deliveryAddress",
    integer "deliveryId",
  },
  finders = { findByCustomerId = { "customerId" }, findByOrderId = { "orderId" } },

  on = {
    CustomerVerified = function(row, event)
      row.customerId, row.customerName = event.customerId, event.customerName
    end,
    Ordered = function(row, event)
      row.customerId, row.bookId, row.quantity = event.customerId, event.bookId, event.quantity
      row.deliveryAddress, row.orderStatus = event.deliveryAddress, event.orderStatus
    end,
    DeliveryPrepared = function(row, event)
      row.deliveryStatus = event.status
    end,
    DeliveryStatusChanged = function(row, event)
      row.deliveryId, row.deliveryStatus = event.id, event.deliveryStatus
    end,
    PaymentFailed = function(row)
      if row.orderStatus ~= "CANCELED" then row.orderStatus = "Payment_Failed" end
    end,
    OrderCanceled = function(row, event)
      row.orderStatus = event.status
    end,
  },
}
