/* Boots are counted by bits of flash. */
#include <string.h>

#include "boot_count.h"
#include "virtual_board.h"

static uint8_t sector[BOOT_COUNT_SECTOR];

static int begin(void **state) {
  (void)state;
  memset(sector, 0xff, sizeof sector);
  return 0;
}

/* As a flash chip does it: bits go from 1 to 0 and never back. */
static boot_count_t boot(void) {
  boot_count_t next = boot_count_next(sector);
  if (next.erase_first) {
    memset(sector, 0xff, sizeof sector);
  }
  if (!next.full) {
    assert_int_equal(next.value & ~sector[next.at], 0);
    sector[next.at] &= next.value;
  }
  return next;
}

static void every_boot_counts_until_the_sector_is_full(void **state) {
  (void)state;
  for (uint32_t i = 1; i <= 8 * BOOT_COUNT_SECTOR; i++) {
    boot_count_t next = boot();
    assert_int_equal(next.count, i);
    assert_false(next.erase_first || next.full);
  }
  boot_count_t next = boot();
  assert_true(next.full);
  assert_int_equal(next.count, 8 * BOOT_COUNT_SECTOR);
}

static void a_sector_that_holds_something_else_is_erased_and_counts_from_one(void **state) {
  (void)state;
  static const struct {
    size_t at;
    uint8_t byte;
  } strange[] = {{0, 0xfd}, {0, 0x55}, {1, 0xfe}, {BOOT_COUNT_SECTOR - 1, 0x00}, {2000, 0x7f}, {0, 0x7f}};
  for (size_t i = 0; i < sizeof strange / sizeof strange[0]; i++) {
    (void)begin(NULL);
    sector[strange[i].at] = strange[i].byte;
    boot_count_t next = boot();
    assert_true(next.erase_first);
    assert_int_equal(next.count, 1);
    assert_int_equal(boot().count, 2);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(every_boot_counts_until_the_sector_is_full, begin),
      cmocka_unit_test_setup(a_sector_that_holds_something_else_is_erased_and_counts_from_one, begin),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
