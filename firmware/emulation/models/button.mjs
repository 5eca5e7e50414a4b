// A push button to ground, whose contacts bounce.

const BOUNCES = 6; // extra edges when it closes or opens
const BOUNCE_NANOS = 700e3; // up to, between two of them

export class Button {
  /** @param level called with the level of its pin: low while pressed */
  constructor(clock, random, level) {
    Object.assign(this, { clock, random, level });
    this.down = false;
    this.contact = false;
    this.edges = 0;
    this.stormUntil = -1;
    this.next = clock.createAlarm(() => this.bounce());
  }

  press(down) {
    if (down === this.down) return;
    this.down = down;
    this.left = BOUNCES;
    this.bounce();
  }

  /** Contacts that chatter by themselves, as a dirty or wet one does. */
  storm(untilNanos) {
    this.stormUntil = untilNanos;
    this.left = 0;
    this.bounce();
  }

  bounce() {
    const storming = this.clock.nanos < this.stormUntil;
    this.set(storming || this.left > 0 ? !this.contact : this.down);
    if (!storming && this.left <= 0) return;
    this.left--;
    this.next.schedule((0.1 + 0.9 * this.random.uniform()) * BOUNCE_NANOS);
  }

  set(contact) {
    if (contact === this.contact) return;
    this.contact = contact;
    this.edges++;
    this.level(!contact);
  }
}
