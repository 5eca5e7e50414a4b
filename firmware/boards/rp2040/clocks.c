#include "clocks.h"

#include "rp2040.h"

static void wait_for(uint32_t address, uint32_t bits) {
  while ((REGISTER(address) & bits) != bits) {
  }
}

/* 12 MHz * feedback / (divider_1 * divider_2). */
static void start_pll(uint32_t base, uint32_t feedback, uint32_t divider_1, uint32_t divider_2) {
  REGISTER(PLL_CS(base)) = 1;
  REGISTER(PLL_FBDIV_INT(base)) = feedback;
  CLEAR_BITS(PLL_PWR(base), 0x21); /* PD, VCOPD */
  wait_for(PLL_CS(base), 0x80000000U);
  REGISTER(PLL_PRIM(base)) = divider_1 << 16 | divider_2 << 12;
  CLEAR_BITS(PLL_PWR(base), 0x08); /* POSTDIVPD */
}

void clocks_start(void) {
  REGISTER(XOSC_CTRL) = 0xaa0;  /* 1 to 15 MHz */
  REGISTER(XOSC_STARTUP) = 47;  /* 1 ms in units of 256 cycles */
  SET_BITS(XOSC_CTRL, 0xfab000);
  wait_for(XOSC_STATUS, 0x80000000U);

  /* Off the PLLs before they are touched, should a reset have left them in use. */
  CLEAR_BITS(CLK_SYS_CTRL, 0x1);
  wait_for(CLK_SYS_SELECTED, 1U << 0);
  REGISTER(CLK_REF_CTRL) = 2; /* crystal */
  wait_for(CLK_REF_SELECTED, 1U << 2);

  uint32_t needed = RESET_I2C1 | RESET_IO_BANK0 | RESET_PADS_BANK0 | RESET_PLL_SYS | RESET_PLL_USB | RESET_PWM |
                    RESET_SPI0 | RESET_TIMER | RESET_UART0 | RESET_USBCTRL;
  SET_BITS(RESETS_RESET, needed); /* the boot ROM may have used some of them */
  CLEAR_BITS(RESETS_RESET, needed);
  wait_for(RESETS_RESET_DONE, needed);

  start_pll(PLL_SYS_BASE, 125, 6, 2); /* 1500 MHz / 12 = 125 MHz */
  start_pll(PLL_USB_BASE, 100, 5, 5); /* 1200 MHz / 25 = 48 MHz */
  REGISTER(CLK_SYS_CTRL) = 0;         /* the other source of the mux: PLL */
  SET_BITS(CLK_SYS_CTRL, 0x1);
  wait_for(CLK_SYS_SELECTED, 1U << 1);
  REGISTER(CLK_PERI_CTRL) = CLK_ENABLE;
  REGISTER(CLK_USB_CTRL) = CLK_ENABLE;
  REGISTER(WATCHDOG_TICK) = 1U << 9 | 12U; /* the crystal's 12 MHz become the timer's 1 MHz */
}

uint64_t clock_us(void) {
  uint32_t high, low;
  do {
    high = REGISTER(TIMER_TIMERAWH);
    low = REGISTER(TIMER_TIMERAWL);
  } while (high != REGISTER(TIMER_TIMERAWH));
  return (uint64_t)high << 32 | low;
}

void wait_us(uint32_t us) {
  uint64_t until = clock_us() + us;
  while (clock_us() < until) {
  }
}
