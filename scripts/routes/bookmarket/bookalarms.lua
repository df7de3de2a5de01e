return {
  event "MessageSended" {
    service = "bookalarm",
    key     = { order = "orderId" },
    fields  = {
      integer "id", integer "deliveryId", text "bookMessage", text "deliveryStatus", integer "orderId",
    },
  },

  -- One row a message to the customer of an order; they come from "alarm when delivery status changed".
  resource "bookAlarms" {
    service = "bookalarm",
    rel     = "bookAlarm",
    fields  = {
      integer "deliveryId",
      text    "bookMessage",
      text    "deliveryStatus",
      integer "orderId",
    },
  },

  -- For whoever keeps the shop; from "alarm when breaker opens".
  resource "breakerAlarms" {
    service = "bookalarm",
    fields  = { text "breaker", text "message" },
  },
}
