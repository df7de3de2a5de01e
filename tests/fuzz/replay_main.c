/* SPDX-License-Identifier: MIT */
/* Stands in for libFuzzer where inputs are only replayed: each file given goes through the target
 * once, in memory of exactly its size, so that a byte read too far is seen by the sanitizers. */
#include "fuzz.h"

static int replay(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END) || ftell(file) < 0) {
        perror(path);
        return -1;
    }
    size_t size = (size_t)ftell(file);
    uint8_t *data = malloc(size > 0 ? size : 1);
    rewind(file);
    size_t got = data ? fread(data, 1, size, file) : 0;
    fclose(file);
    if (!data || got != size) {
        fprintf(stderr, "%s: cannot be read\n", path);
        free(data);
        return -1;
    }
    LLVMFuzzerTestOneInput(data, size);
    free(data);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "%s: no inputs to replay\n", argv[0]);
        return 1;
    }
    for (int i = 1; i < argc; i++) {
        /* Told before it runs: the last line names the input that ended the process. */
        printf("%s\n", argv[i]);
        fflush(stdout);
        if (replay(argv[i]))
            return 1;
    }
    return 0;
}
