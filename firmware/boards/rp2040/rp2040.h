/* The RP2040 registers that this board uses. Addresses, offsets and bits: Raspberry Pi RP2040 datasheet. */
#ifndef RP2040_H
#define RP2040_H
#include <stdint.h>

#define REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))
/* Each peripheral answers at two more addresses where writing sets or clears bits (2.1.2). */
#define SET_BITS(address, bits) (REGISTER((address) + 0x2000U) = (bits))
#define CLEAR_BITS(address, bits) (REGISTER((address) + 0x3000U) = (bits))

#define SSI_BASE 0x18000000U /* 4.10.13 */
#define SSI_CTRLR0 (SSI_BASE + 0x00U)
#define SSI_CTRLR1 (SSI_BASE + 0x04U)
#define SSI_SSIENR (SSI_BASE + 0x08U)
#define SSI_SER (SSI_BASE + 0x10U)
#define SSI_BAUDR (SSI_BASE + 0x14U)
#define SSI_SR (SSI_BASE + 0x28U)
#define SSI_SR_RFNE (1U << 3)
#define SSI_SR_BUSY (1U << 0)
#define SSI_DR0 (SSI_BASE + 0x60U)

#define RESETS_RESET 0x4000c000U /* 2.14.3 */
#define RESETS_RESET_DONE 0x4000c008U
#define RESET_I2C1 (1U << 4)
#define RESET_IO_BANK0 (1U << 5)
#define RESET_PADS_BANK0 (1U << 8)
#define RESET_PLL_SYS (1U << 12)
#define RESET_PLL_USB (1U << 13)
#define RESET_PWM (1U << 14)
#define RESET_SPI0 (1U << 16)
#define RESET_TIMER (1U << 21)
#define RESET_UART0 (1U << 22)
#define RESET_USBCTRL (1U << 24)

#define CLK_REF_CTRL 0x40008030U /* 2.15.7 */
#define CLK_REF_SELECTED 0x40008038U
#define CLK_SYS_CTRL 0x4000803cU
#define CLK_SYS_SELECTED 0x40008044U
#define CLK_PERI_CTRL 0x40008048U
#define CLK_USB_CTRL 0x40008054U
#define CLK_ENABLE (1U << 11)

#define PSM_WDSEL 0x40010008U /* 2.13.5 */

#define GPIO_STATUS(pin) (0x40014000U + 8U * (pin)) /* 2.19.6.1 */
#define GPIO_CTRL(pin) (0x40014004U + 8U * (pin))
#define GPIO_INTR(pin) (0x400140f0U + 4U * ((pin) / 8U))
#define GPIO_INTE(pin) (0x40014100U + 4U * ((pin) / 8U))
#define GPIO_INTS(pin) (0x40014120U + 4U * ((pin) / 8U))
#define GPIO_EDGE_LOW(pin) (4U << (4U * ((pin) % 8U)))
#define GPIO_EDGE_HIGH(pin) (8U << (4U * ((pin) % 8U)))

#define QSPI_SS_CTRL 0x4001800cU /* 2.19.6.2 */
#define QSPI_SS_OUT_LOW (2U << 8)
#define QSPI_SS_OUT_HIGH (3U << 8)

#define PAD(pin) (0x4001c004U + 4U * (pin)) /* 2.19.6.3 */
#define PAD_INPUT (1U << 6)
#define PAD_DRIVE_4_MA (1U << 4)
#define PAD_PULL_UP (1U << 3)
#define PAD_PULL_DOWN (1U << 2)
#define PAD_SCHMITT (1U << 1)

#define XOSC_CTRL 0x40024000U /* 2.16.7 */
#define XOSC_STATUS 0x40024004U
#define XOSC_STARTUP 0x4002400cU

#define PLL_SYS_BASE 0x40028000U /* 2.18.4 */
#define PLL_USB_BASE 0x4002c000U
#define PLL_CS(base) ((base) + 0x0U)
#define PLL_PWR(base) ((base) + 0x4U)
#define PLL_FBDIV_INT(base) ((base) + 0x8U)
#define PLL_PRIM(base) ((base) + 0xcU)

#define UART0_BASE 0x40034000U /* 4.2.8 */
#define UART0_DR (UART0_BASE + 0x00U)
#define UART0_FR (UART0_BASE + 0x18U)
#define UART0_FR_TXFF (1U << 5)
#define UART0_FR_RXFE (1U << 4)
#define UART0_IBRD (UART0_BASE + 0x24U)
#define UART0_FBRD (UART0_BASE + 0x28U)
#define UART0_LCR_H (UART0_BASE + 0x2cU)
#define UART0_CR (UART0_BASE + 0x30U)
#define UART0_IMSC (UART0_BASE + 0x38U)
#define UART0_ICR (UART0_BASE + 0x44U)
#define UART_INT_RX (1U << 4)
#define UART_INT_TX (1U << 5)
#define UART_INT_OVERRUN (1U << 10)
#define UART_DR_OVERRUN (1U << 11)

#define SPI0_BASE 0x4003c000U /* 4.4.4 */
#define SPI0_CR0 (SPI0_BASE + 0x00U)
#define SPI0_CR1 (SPI0_BASE + 0x04U)
#define SPI0_DR (SPI0_BASE + 0x08U)
#define SPI0_SR (SPI0_BASE + 0x0cU)
#define SPI0_CPSR (SPI0_BASE + 0x10U)
#define SPI_SR_RNE (1U << 2)

#define I2C1_BASE 0x40048000U /* 4.3.17 */
#define I2C1_CON (I2C1_BASE + 0x00U)
#define I2C1_TAR (I2C1_BASE + 0x04U)
#define I2C1_DATA_CMD (I2C1_BASE + 0x10U)
#define I2C1_FS_SCL_HCNT (I2C1_BASE + 0x1cU)
#define I2C1_FS_SCL_LCNT (I2C1_BASE + 0x20U)
#define I2C1_RAW_INTR_STAT (I2C1_BASE + 0x34U)
#define I2C1_CLR_TX_ABRT (I2C1_BASE + 0x54U)
#define I2C1_ENABLE (I2C1_BASE + 0x6cU)
#define I2C1_STATUS (I2C1_BASE + 0x70U)
#define I2C_STATUS_MASTER_BUSY (1U << 5)
#define I2C1_RXFLR (I2C1_BASE + 0x78U)
#define I2C1_SDA_HOLD (I2C1_BASE + 0x7cU)
#define I2C1_FS_SPKLEN (I2C1_BASE + 0xa0U)
#define I2C_CMD_READ (1U << 8)
#define I2C_CMD_STOP (1U << 9)
#define I2C_CMD_RESTART (1U << 10)
#define I2C_TX_ABRT (1U << 6)

#define PWM_CSR(slice) (0x40050000U + 0x14U * (slice)) /* 4.5.3 */
#define PWM_DIV(slice) (0x40050004U + 0x14U * (slice))
#define PWM_CC(slice) (0x4005000cU + 0x14U * (slice))
#define PWM_TOP(slice) (0x40050010U + 0x14U * (slice))

#define TIMER_ALARM(n) (0x40054010U + 4U * (n)) /* 4.6.5 */
#define TIMER_TIMERAWH 0x40054024U
#define TIMER_TIMERAWL 0x40054028U
#define TIMER_INTR 0x40054034U
#define TIMER_INTE 0x40054038U
#define TIMER_INTF 0x4005403cU

#define WATCHDOG_CTRL 0x40058000U /* 4.7.6 */
#define WATCHDOG_LOAD 0x40058004U
#define WATCHDOG_REASON 0x40058008U
#define WATCHDOG_SCRATCH(n) (0x4005800cU + 4U * (n))
#define WATCHDOG_TICK 0x4005802cU

#define ROSC_RANDOMBIT 0x4006001cU /* 2.17.8 */
#define CHIP_RESET 0x40064008U     /* 2.12.8 */

#define USB_RAM 0x50100000U /* 4.1.2.5: setup packet, endpoint and buffer control, buffers */
#define USB_ENDPOINT_CONTROL(endpoint, out) (USB_RAM + 8U * (endpoint) + 4U * (out)) /* not for endpoint 0 */
#define USB_BUFFER_CONTROL(endpoint, out) (USB_RAM + 0x80U + 8U * (endpoint) + 4U * (out))
#define USB_ENDPOINT_ENABLE (1U << 31)
#define USB_ENDPOINT_INTERRUPT (1U << 29)
#define USB_ENDPOINT_TYPE(type) ((type) << 26)
#define USB_BUFFER_FULL (1U << 15)
#define USB_BUFFER_DATA1 (1U << 13)
#define USB_BUFFER_STALL (1U << 11)
#define USB_BUFFER_AVAILABLE (1U << 10)
#define USB_BUFFER_LEN 0x3ffU

#define USB_BASE 0x50110000U /* 4.1.4 */
#define USB_ADDR_ENDP (USB_BASE + 0x00U)
#define USB_MAIN_CTRL (USB_BASE + 0x40U)
#define USB_SIE_CTRL (USB_BASE + 0x4cU)
#define USB_SIE_CTRL_PULL_UP (1U << 16)
#define USB_SIE_CTRL_EP0_INTERRUPT (1U << 29)
#define USB_SIE_STATUS (USB_BASE + 0x50U)
#define USB_SIE_SUSPENDED (1U << 4)
#define USB_SIE_SETUP (1U << 17)
#define USB_SIE_BUS_RESET (1U << 19)
#define USB_BUFF_STATUS (USB_BASE + 0x58U)
#define USB_EP_STALL_ARM (USB_BASE + 0x68U)
#define USB_MUXING (USB_BASE + 0x74U)
#define USB_PWR (USB_BASE + 0x78U)
#define USB_INTE (USB_BASE + 0x90U)
#define USB_INTS (USB_BASE + 0x98U)
#define USB_INT_BUFFER (1U << 4)
#define USB_INT_BUS_RESET (1U << 12)
#define USB_INT_SETUP (1U << 16)

#define SIO_GPIO_IN 0xd0000004U /* 2.3.1.7 */
#define SIO_GPIO_OUT_SET 0xd0000014U
#define SIO_GPIO_OUT_CLR 0xd0000018U
#define SIO_GPIO_OE_SET 0xd0000024U

#define NVIC_ISER 0xe000e100U /* 2.4.8 */
#define SCB_VTOR 0xe000ed08U
#define NVIC_IPR(irq) (0xe000e400U + 4U * ((irq) / 4U))

enum {
  FUNCTION_SPI = 1,
  FUNCTION_UART = 2,
  FUNCTION_I2C = 3,
  FUNCTION_PWM = 4,
  FUNCTION_SIO = 5,
};

/* 2.3.2 */
enum {
  IRQ_TIMER_0 = 0,
  IRQ_TIMER_1 = 1,
  IRQ_USBCTRL = 5,
  IRQ_IO_BANK0 = 13,
  IRQ_UART0 = 20,
  IRQ_COUNT = 26,
};

static inline uint32_t interrupts_off(void) {
  uint32_t before;
  __asm volatile("mrs %0, primask\n cpsid i" : "=r"(before)::"memory");
  return before;
}

static inline void interrupts_restore(uint32_t before) {
  __asm volatile("msr primask, %0" ::"r"(before) : "memory");
}

#endif
