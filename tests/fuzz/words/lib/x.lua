-- SPDX-License-Identifier: MIT
return { n = 1, list = { 1, 2 } }
