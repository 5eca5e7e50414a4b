// The computer at the other end of the USB cable: rp2040js's CDC host, and a driver that reads only while somebody
// has the port open.

import { USBCDC } from 'rp2040js';

const PACKET_NANOS = 60e3; // a full-speed bulk packet of 64 bytes with its handshake

export class UsbHost {
  /** @param onBytes called with every packet the board sends to its serial endpoint */
  constructor(mcu, onBytes) {
    const usb = mcu.usbCtrl;
    this.usb = usb;
    this.cdc = new USBCDC(usb);
    this.connected = false;
    this.queue = [];
    this.asked = 0; // bytes the board is ready to take
    usb.readDelayMicroseconds = PACKET_NANOS / 1000;
    usb.writeDelayMicroseconds = PACKET_NANOS / 1000;
    this.cdc.onDeviceConnected = () => (this.connected = true);
    this.cdc.onSerialData = onBytes;
    // rp2040js answers at once with an empty packet where a host has nothing to say; a host waits.
    usb.onEndpointRead = (endpoint, size) => {
      if (endpoint !== this.cdc.outEndpoint) return;
      this.asked = size;
      this.send();
    };
  }

  feed(bytes) {
    for (const byte of bytes) this.queue.push(byte);
    this.send();
  }

  send() {
    if (!this.asked || !this.queue.length) return;
    const packet = Uint8Array.from(this.queue.splice(0, Math.min(this.asked, 64)));
    this.asked = 0;
    this.usb.endpointReadDone(this.cdc.outEndpoint, packet);
  }
}
