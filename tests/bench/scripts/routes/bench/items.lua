return {
  event "ItemMade" {
    service = "bench",
    key     = { item = "id" },
    fields  = { integer "id", text "name", integer "qty" },
  },

  resource "items" {
    service = "bench",
    rel     = "item",
    fields  = { text "name", integer "qty" },

    on_create = function(item)
      bus.emit("ItemMade", item)
    end,
  },
}
