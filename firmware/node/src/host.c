#include "host.h"

#include <errno.h>
#include <pb_decode.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "clock.h"
#include "messages.h"

#define TURN_MESSAGES 16 /* then others get their turn */
/* handcap asks for stamps twenty times a second: one that says nothing for so long has lost the link. */
#define SILENCE_NS (2 * NS_PER_S)

static void lose_link(node_t *node, const char *why) {
  messages_take_back(node);
  link_drop(node->link);
  node->replies_read = node->replies_written;
  node->had_host = true;
  node_say(node, handcap_Log_Level_LEVEL_INFO, "%s left: %s", node->link->peer, why);
}

static void note_heard(node_t *node, uint64_t now_ns) {
  node->heard_t_ns = now_ns;
  node->heard_dropped = picture_queue_state(node->pictures).dropped;
}

void host_give_way(node_t *node, uint64_t now_ns) {
  if (node->link->fd >= 0 && now_ns - node->heard_t_ns > SILENCE_NS) {
    lose_link(node, "it fell silent, and a host has come");
  }
}

void host_greet(node_t *node, uint64_t now_ns) {
  picture_queue_state_t pictures = picture_queue_state(node->pictures);
  uint32_t dropped = pictures.dropped - node->heard_dropped;
  double away_s = (double)(now_ns - node->heard_t_ns) / 1e9;
  note_heard(node, now_ns);
  node->hello_wanted = true;
  node->status_wanted = true;
  memset(node->done, 0, sizeof node->done); /* another host may count its commands from 1 again */
  node_say(node, handcap_Log_Level_LEVEL_INFO, "%s is here", node->link->peer);
  if (!node->streaming || !node->had_host) {
    return;
  }
  node_say(node, dropped > 0 ? handcap_Log_Level_LEVEL_WARNING : handcap_Log_Level_LEVEL_INFO,
           "the link was away for %.1f s: %u pictures were thrown away for want of room, %u were kept and follow", away_s,
           dropped, pictures.count);
}

static void reply(node_t *node, const node_reply_t *answer) {
  node->replies[node->replies_written++ % NODE_REPLIES] = *answer;
}

static handcap_Ack acknowledgement(uint32_t id, handcap_Ack_Outcome outcome, const char *text) {
  handcap_Ack ack = {.id = id, .outcome = outcome};
  snprintf(ack.text, sizeof ack.text, "%s", text);
  return ack;
}

static handcap_Ack obey(node_t *node, const handcap_Command *command) {
  switch (command->which_what) {
    case handcap_Command_identify_tag:
      node->hello_wanted = true;
      return acknowledgement(command->id, handcap_Ack_Outcome_OUTCOME_DONE, "");
    case handcap_Command_stream_tag:
      node->streaming = command->what.stream.on;
      camera_stream(node->camera, node->streaming);
      node->imu_retry_t_ns = 0;
      return acknowledgement(command->id, handcap_Ack_Outcome_OUTCOME_DONE, "");
    default:
      return acknowledgement(command->id, handcap_Ack_Outcome_OUTCOME_NOT_KNOWN,
                             "a camera node knows Identify and Stream only");
  }
}

static void take_command(node_t *node, const handcap_Command *command) {
  node_reply_t answer = {.which = handcap_Envelope_ack_tag};
  answer.body.ack = acknowledgement(0, handcap_Ack_Outcome_OUTCOME_REFUSED, "id: 1 or more");
  if (command->id != 0) {
    const handcap_Ack *known = NULL;
    for (int i = 0; i < NODE_COMMANDS_REMEMBERED; i++) {
      if (node->done[i].id == command->id) {
        known = &node->done[i];
      }
    }
    if (known == NULL) {
      handcap_Ack *place = &node->done[node->done_next++ % NODE_COMMANDS_REMEMBERED];
      *place = obey(node, command);
      known = place;
    }
    answer.body.ack = *known;
  }
  reply(node, &answer);
}

static void take_message(node_t *node, const uint8_t *bytes, size_t length, uint64_t received_t_ns) {
  static handcap_Envelope envelope;
  envelope = (handcap_Envelope)handcap_Envelope_init_zero;
  pb_istream_t stream = pb_istream_from_buffer(bytes, length);
  bool message = pb_decode(&stream, handcap_Envelope_fields, &envelope);
  if (message && envelope.which_body == handcap_Envelope_sync_request_tag) {
    node_reply_t answer = {.which = handcap_Envelope_sync_response_tag};
    answer.body.sync.host_sent_t_ns = envelope.body.sync_request.host_sent_t_ns;
    answer.body.sync.board_received_t_ns = received_t_ns;
    reply(node, &answer);
  } else if (message && envelope.which_body == handcap_Envelope_command_tag) {
    take_command(node, &envelope.body.command);
  } else {
    node->rx_not_a_message++;
  }
}

/* So many bytes at a time that their answers always have room, however small the messages: a message has 6 bytes or
 * more (code, a byte, CRC, zero), and next to nothing is as short as that. */
size_t host_room_for_bytes(const node_t *node) {
  size_t room = NODE_REPLIES - (node->replies_written - node->replies_read);
  return room * 6;
}

static void hear(node_t *node, uint64_t received_t_ns) {
  uint8_t bytes[NODE_REPLIES * 6];
  size_t room = host_room_for_bytes(node);
  if (room == 0) {
    return;
  }
  ssize_t got = recv(node->link->fd, bytes, room, 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
    return;
  }
  if (got <= 0) {
    lose_link(node, got == 0 ? "it closed the link" : strerror(errno));
    return;
  }
  note_heard(node, received_t_ns);
  hc_deframer_t *deframer = &node->link->deframer;
  for (ssize_t i = 0; i < got; i++) {
    if (hc_deframer_push(deframer, bytes[i])) {
      take_message(node, deframer->bytes, deframer->len, received_t_ns);
    }
  }
}

void host_hear(node_t *node, short events, uint64_t now_ns) {
  if (events & POLLIN) {
    hear(node, now_ns);
  }
  /* Gone, though not all that it said may have been read: nobody waits for the answers. */
  if (events & (POLLRDHUP | POLLHUP | POLLERR) && node->link->fd >= 0) {
    lose_link(node, "it closed the link");
  }
}

void host_speak(node_t *node) {
  messages_forget_arrived(node);
  for (int i = 0; i < TURN_MESSAGES; i++) {
    if (!link_busy(node->link)) {
      messages_let_go_of_sent(node);
      if (!messages_put_next(node)) {
        return;
      }
    }
    link_result_t result = link_flush(node->link);
    if (result == LINK_LOST) {
      lose_link(node, strerror(errno));
    }
    if (result != LINK_OPEN) {
      return;
    }
    bool picture = node->on_the_way == handcap_Envelope_video_frame_tag;
    messages_let_go_of_sent(node);
    if (picture) {
      return; /* framing the next one takes milliseconds, and a request may have come */
    }
  }
}

bool host_has_something_to_hear(const node_t *node) {
  if (link_busy(node->link) || node->hello_wanted || node->status_wanted || node->picture != NULL) {
    return true;
  }
  if (node->replies_read != node->replies_written) {
    return true;
  }
  if (node->iio != NULL && (node->has_batch || node->samples->sent != node->samples->written)) {
    return true;
  }
  return picture_queue_state(node->pictures).bytes > 0;
}
