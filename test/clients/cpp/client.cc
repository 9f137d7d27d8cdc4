// Pushes with prometheus-cpp, as test/clients/README.md has it.
#include <prometheus/gateway.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>

#include <iostream>
#include <map>
#include <memory>
#include <string>

using prometheus::Gauge;

namespace {

// Read makes a gauge of each name.
std::shared_ptr<prometheus::Registry> Read(std::istream& metrics) {
  auto registry = std::make_shared<prometheus::Registry>();
  std::map<std::string, prometheus::Family<Gauge>*> families;
  std::string name, part;
  double value;
  while (metrics >> name >> part >> value) {
    auto& family = families[name];
    if (family == nullptr) {
      family = &prometheus::BuildGauge().Name(name).Help("A gauge of the clients' tests.").Register(*registry);
    }
    family->Add({{"part", part}}).Set(value);
  }
  return registry;
}

// Tell prints what the client's answer means: below zero it is an error of libcurl, and below 400 it is taken. libcurl
// has written the body of the HTTP response to the standard output.
int Tell(int answer) {
  std::cout << "\n";
  if (answer >= 100 && answer < 400) {
    std::cout << "taken\n";
    return 0;
  }
  if (answer >= 400) {
    std::cout << "refused " << answer << "\n";
    return 1;
  }
  constexpr int kUrlMalformat = -3;
  std::cout << (answer == kUrlMalformat ? "unsent" : "unanswered") << " error " << -answer << " of libcurl\n";
  return answer == kUrlMalformat ? 3 : 2;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::cout << "unsent: want push|add|delete URL JOB [LABEL=VALUE...]\n";
    return 3;
  }
  const std::string action = argv[1], url = argv[2], job = argv[3];
  prometheus::Labels labels;
  for (int i = 4; i < argc; i++) {
    const std::string label = argv[i];
    const auto equals = label.find('=');
    labels[label.substr(0, equals)] = label.substr(equals + 1);
  }
  const auto colon = url.rfind(':');
  prometheus::Gateway gateway{url.substr(0, colon), url.substr(colon + 1), job, labels};
  if (action == "delete") {
    return Tell(gateway.DeleteForInstance());
  }
  const auto registry = Read(std::cin);
  gateway.RegisterCollectable(registry);
  return Tell(action == "add" ? gateway.PushAdd() : gateway.Push());
}
