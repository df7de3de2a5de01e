local stock = use "lib.bookstore.stock"

return policy "books go back when not needed" {
  service = "bookInventory",
  on      = { "OrderCanceled", "PaymentFailed" },
  handle  = function(event)
    stock.release(event.orderId)
  end,
}
