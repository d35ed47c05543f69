/* The control block of one Lua state: shared by the guard inside the state, which reads it, and the `Guard` object
 * outside, which writes it. Every field that two threads touch is read and written with the __atomic builtins. */
#ifndef SPELL_CONTROL_H
#define SPELL_CONTROL_H

#include <stdint.h>

#define SPELL_CONTROL_MAGIC 0x5350454cu

enum spell_trip {
    SPELL_RUNNING = 0,
    SPELL_INTERRUPT = 1,
    SPELL_WALL_TIME = 2,
    SPELL_INSTRUCTIONS = 3,
    SPELL_OUTPUT = 4,
};

typedef struct spell_control {
    uint32_t magic;
    int32_t tripped;            /* enum spell_trip; any thread or signal handler may set it */
    int64_t instructions_used;  /* counted in steps of the hook's period, pattern steps included */
    int64_t instructions_limit; /* 0 = none */
    int64_t deadline_ns;        /* CLOCK_MONOTONIC; 0 = none */
    int64_t memory_used;
    int64_t memory_peak;
    int64_t memory_limit;       /* 0 = none */
    int64_t grace_ns;           /* end of the time that <close> variables get after a trip */
    int64_t grace_instructions; /* value of instructions_used at which that time ends as well */
    int32_t outside;            /* > 0 while the host runs: the allocator then never refuses */
    int32_t waiting;            /* a yield on its way to the host carries a wait, not values of the script */
    void* guard;                /* what the unit keeps for the state; released by spell_release */
} spell_control;

#endif
