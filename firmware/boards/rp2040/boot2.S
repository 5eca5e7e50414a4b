/* Second boot stage (2.8.1): sets the flash interface up for plain 03h serial reads, which every QSPI NOR chip knows,
   and starts the program through its vector table. The last four of these 256 bytes are the CRC that the boot ROM
   checks; tools/image.py fills them in. */
.syntax unified
.cpu cortex-m0plus
.thumb

.section .boot2, "ax", %progbits
.global boot2
.thumb_func
boot2:
  ldr r3, =0x18000000   /* SSI */
  movs r1, #0
  str r1, [r3, #0x08]   /* SSIENR: off */
  movs r1, #4
  str r1, [r3, #0x14]   /* BAUDR: 125 MHz / 4, within the 33 MHz that any chip takes for 03h */
  ldr r1, =0x001f0300   /* CTRLR0: 32-bit frames, EEPROM read mode */
  str r1, [r3, #0x00]
  movs r1, #0
  str r1, [r3, #0x04]   /* CTRLR1: one frame at a time */
  ldr r1, =0x03000218   /* SPI_CTRLR0: command 03h, 8-bit instruction, 24-bit address */
  ldr r2, =0x180000f4
  str r1, [r2]
  movs r1, #1
  str r1, [r3, #0x10]   /* SER: the chip */
  str r1, [r3, #0x08]   /* SSIENR: on */
  ldr r0, =0x10000100
  ldr r1, =0xe000ed08   /* VTOR */
  str r0, [r1]
  ldmia r0, {r0, r1}
  msr msp, r0
  bx r1
.ltorg
