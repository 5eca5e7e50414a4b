// What the light on the rig shows, seen from outside: three pins, switched or dimmed by PWM.

const FUNCTION_PWM = 4;

/** 0 .. 1 for each pin, now. */
export function brightness(mcu, pins) {
  return pins.map((pin) => {
    const gpio = mcu.gpio[pin];
    if (gpio.functionSelect !== FUNCTION_PWM) return gpio.outputEnable && gpio.outputValue ? 1 : 0;
    const channel = mcu.pwm.channels[(pin >> 1) & 7];
    if (!(channel.csr & 1)) return 0;
    const compare = pin & 1 ? channel.cc >>> 16 : channel.cc & 0xffff;
    return Math.min(compare / (channel.top + 1), 1);
  });
}
