#include "button.h"

void button_start(button_t *button, bool down) {
  *button = (button_t){.down = down};
}

void button_edge(button_t *button, uint64_t t_ns) {
  if (button->edges == button->edges_judged) {
    button->first_t_ns = t_ns;
  }
  button->last_t_ns = t_ns;
  button->edges++;
}

bool button_poll(button_t *button, uint64_t now_ns, bool down, handcap_Button *event) {
  uint32_t edges = button->edges;
  uint64_t first_t_ns = button->first_t_ns;
  uint64_t last_t_ns = button->last_t_ns;
  if (edges != button->edges) {
    return false; /* an edge came while these were read; next turn */
  }
  bool settled = now_ns >= last_t_ns && now_ns - last_t_ns >= BUTTON_STABLE_NS;
  if (edges == button->edges_judged || !settled) {
    return false;
  }
  button->edges_judged = edges;
  if (button->edges != edges) {
    button->first_t_ns = button->last_t_ns; /* the edge that came just now saw the others still waiting */
  }
  if (down == button->down) {
    return false; /* a glitch: it came back */
  }
  button->down = down;
  button->presses += down ? 1U : 0U;
  *event = (handcap_Button){
      .edge = down ? handcap_Button_Edge_EDGE_PRESSED : handcap_Button_Edge_EDGE_RELEASED,
      .edge_t_ns = first_t_ns,
      .presses = button->presses,
  };
  return true;
}
