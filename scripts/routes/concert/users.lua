return resource "users" {
  service = "user",
  rel     = "user",
  fields  = { text "name" },
}
