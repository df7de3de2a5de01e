/* SPDX-License-Identifier: MIT */
/* Settings and steps from the input, taken by the breaker and by its model. */
#include "../unit/breaker/model.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    require(model_run(data, size) == NULL);
    return 0;
}
