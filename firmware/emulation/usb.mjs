// The computer at the other end of the USB cable: rp2040js's CDC host, whose serial port a program may open.

import { USBCDC } from 'rp2040js';

const PACKET_MICROS = 60; // a full-speed bulk packet of 64 bytes with its handshake
const PACKET_BYTES = 64;
const DTR_AND_RTS = 3;

export class UsbHost {
  /**
   * @param mcu the chip
   * @param plugged whether there is a cable
   * @param open whether a program has the port open: the board sees that as DTR
   * @param onBytes called with every packet the board sends to its serial port
   */
  constructor(mcu, plugged, open, onBytes) {
    const usb = mcu.usbCtrl;
    this.usb = usb;
    this.open = open;
    this.connected = false;
    this.queue = [];
    this.asked = 0; // bytes the board is ready to take
    if (!plugged) return;
    this.cdc = new USBCDC(usb);
    usb.readDelayMicroseconds = PACKET_MICROS;
    usb.writeDelayMicroseconds = PACKET_MICROS;
    this.cdc.onDeviceConnected = () => (this.connected = true);
    this.cdc.onSerialData = onBytes;
    // rp2040js takes every port for open once it is configured.
    const say = this.cdc.cdcSetControlLineState.bind(this.cdc);
    this.cdc.cdcSetControlLineState = () => say(this.open ? DTR_AND_RTS : 0);
    // And it answers at once with an empty packet where it has nothing to say; a host lets the board wait.
    usb.onEndpointRead = (endpoint, size) => {
      if (endpoint !== this.cdc.outEndpoint) return;
      this.asked = size;
      this.send();
    };
  }

  setOpen(open) {
    if (open === this.open) return;
    this.open = open;
    if (this.connected) this.cdc.cdcSetControlLineState();
  }

  feed(bytes) {
    for (const byte of bytes) this.queue.push(byte);
    this.send();
  }

  send() {
    if (!this.asked || !this.queue.length) return;
    const packet = Uint8Array.from(this.queue.splice(0, Math.min(this.asked, PACKET_BYTES)));
    this.asked = 0;
    this.usb.endpointReadDone(this.cdc.outEndpoint, packet);
  }
}
