-- SPDX-License-Identifier: MIT
return {
  services = { a = {}, b = {} },
  config = { list = { 1, 2, { 3 } } },
  breakers = { guard = { limit = 100000, volume = 100000 } },
}
