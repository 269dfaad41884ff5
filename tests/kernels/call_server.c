// Runs calls of the kernels that another process describes: under another processor's emulation, or with a
// sanitizer that Python itself does not stand.
//
// A request on stdin, in the byte order and the structures of both processes: function, number of blocks, and for
// each block its address over there, its size, its bytes. Block 0 is the gatestack_call; block 1, for the function
// "sizes", the gatestack_bytes. Pointers in the structures are addresses over there. Every request is run by as
// many threads at once as the argument says, each on a copy of its own. The answer on stdout, for each thread: the
// status, then the bytes of all blocks.
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gatestack.h"

typedef struct {
  uint64_t address, size;
  char *bytes;
} Block;

typedef struct {
  uint64_t function, count;
  Block *blocks;
  int32_t status;
} Request;

static void read_all(void *to, size_t size) {
  if (size && fread(to, 1, size, stdin) != size) exit(2);
}

// Keeps the alignment that the block has over there.
static char *allocate(uint64_t address, uint64_t size) {
  char *whole = aligned_alloc(64, (size + 2 * 64) / 64 * 64);
  if (!whole) exit(4);
  return whole + address % 64;
}

static void *here(const Request *request, const void *there) {
  const uint64_t address = (uint64_t)(uintptr_t)there;
  if (!address) return NULL;
  for (uint64_t i = 0; i < request->count; ++i) {
    const Block *block = &request->blocks[i];
    if (address >= block->address && address < block->address + block->size)
      return block->bytes + (address - block->address);
  }
  fprintf(stderr, "a pointer leads to no block\n");
  exit(5);
}

static void move_all(const Request *request, void *first, size_t count) {
  void **pointers = first;
  for (size_t i = 0; i < count; ++i) pointers[i] = here(request, pointers[i]);
}

static void move_call(const Request *request, gatestack_call *call) {
  move_all(request, &call->layers, 1);
  move_all(request, &call->x, 1);
  move_all(request, &call->y, 1);
  move_all(request, &call->grad_y, 1);
  move_all(request, &call->grad_x, 1);
  move_all(request, &call->lengths, 5); // lengths, mask, packed, saved, scratch
  for (int64_t l = 0; l < call->layer_count; ++l) {
    gatestack_layer *layer = &call->layers[l];
    move_all(request, &layer->weights, 12); // from weights to grad_c0
    const gatestack_weights *both[] = {layer->weights, layer->gradients};
    for (int i = 0; i < 2; ++i)
      if (both[i]) move_all(request, (void *)both[i], (size_t)call->directions * 10);
  }
}

static void *run(void *argument) {
  Request *request = argument;
  gatestack_call *call = (gatestack_call *)request->blocks[0].bytes;
  move_call(request, call);
  switch (request->function) {
  case 0: request->status = gatestack_sizes(call, (gatestack_bytes *)request->blocks[1].bytes); break;
  case 1: request->status = gatestack_pack(call); break;
  case 2: request->status = gatestack_forward(call); break;
  case 3: request->status = gatestack_backward(call); break;
  default: exit(6);
  }
  return NULL;
}

static Request copy(const Request *from) {
  Request to = *from;
  to.blocks = malloc(from->count * sizeof(Block));
  for (uint64_t i = 0; i < from->count; ++i) {
    to.blocks[i] = from->blocks[i];
    to.blocks[i].bytes = allocate(from->blocks[i].address, from->blocks[i].size);
    memcpy(to.blocks[i].bytes, from->blocks[i].bytes, from->blocks[i].size);
  }
  return to;
}

static void release(Request *request) {
  for (uint64_t i = 0; i < request->count; ++i) free(request->blocks[i].bytes - request->blocks[i].address % 64);
  free(request->blocks);
}

int main(int count, char **words) {
  if (count != 2) return 7;
  const int callers = atoi(words[1]);
  Request *requests = calloc((size_t)callers, sizeof(Request));
  pthread_t *threads = calloc((size_t)callers, sizeof(pthread_t));
  uint64_t head[2];
  while (fread(head, sizeof(uint64_t), 2, stdin) == 2) {
    Request first = {head[0], head[1], calloc(head[1], sizeof(Block)), 0};
    for (uint64_t i = 0; i < first.count; ++i) {
      Block *block = &first.blocks[i];
      read_all(&block->address, 2 * sizeof(uint64_t));
      block->bytes = allocate(block->address, block->size);
      read_all(block->bytes, block->size);
    }
    for (int i = 0; i < callers; ++i) requests[i] = copy(&first);
    for (int i = 1; i < callers; ++i) pthread_create(&threads[i], NULL, run, &requests[i]);
    run(&requests[0]);
    for (int i = 1; i < callers; ++i) pthread_join(threads[i], NULL);
    for (int i = 0; i < callers; ++i) {
      fwrite(&requests[i].status, sizeof(int32_t), 1, stdout);
      for (uint64_t b = 0; b < first.count; ++b) fwrite(requests[i].blocks[b].bytes, 1, first.blocks[b].size, stdout);
      release(&requests[i]);
    }
    fflush(stdout);
    release(&first);
  }
  return 0;
}
